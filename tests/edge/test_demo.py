"""The demonstration that ships: a real line, a real network, every verdict held against the truth."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from edge.bundle import read_bundle
from edge.demo import FOLDER

PARTS = 40


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, object], Path]:
    picture = tmp_path_factory.mktemp("demo") / "judged.png"
    options = ["--parts", str(PARTS), "--seed", "3", "--fps", "8", "--picture", str(picture), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "edge", "demo", *options], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), picture


def test_every_board_has_a_verdict(demo: tuple[dict[str, object], Path]) -> None:
    """As many verdicts as boards, and pass, reject and unknown add up."""
    report, _ = demo
    assert report["parts"] == PARTS
    assert sum(int(str(report[kind])) for kind in ("pass", "reject", "unknown")) == PARTS


def test_no_defective_board_passes(demo: tuple[dict[str, object], Path]) -> None:
    """Of boards that were rendered with a defect, none escapes; and some are found, so there were some."""
    report, _ = demo
    assert report["escapes"] == 0
    assert int(str(report["reject"])) > 0
    assert int(str(report["pass"])) > 0


def test_the_picture_shows_judged_boards(demo: tuple[dict[str, object], Path]) -> None:
    """--picture writes a picture on which rejected boards are framed in red."""
    picture = cv2.imread(str(demo[1]))
    assert picture is not None
    blue, green, red = (channel.astype(int) for channel in cv2.split(picture))
    assert ((red - green > 100) & (red - blue > 100)).sum() > 500


def test_the_bundle_is_small_enough_to_ship() -> None:
    """The wheel stays light: under 5 MB for the demonstration's bundle, with masters for its designs."""
    files = [path for path in (FOLDER / "bundle").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 5_000_000
    assert len(read_bundle(FOLDER / "bundle").manifest.masters) == 4
