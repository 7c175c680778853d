"""`edge ctl challenge` with pictures from files, for a line with two cameras."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from lines import line_name, running, stop

from edge.challenge.orders import PULLED
from edge.challenge.report import Report

#: `edge`, where a test with pictures has no other fault than a camera that is pulled: each part takes seconds.
ONLY_PULLED = "import edge.challenge.run as run; run.DAMAGES = (); from edge.__main__ import app; app()"
CAMERAS = ("top", "side")


@pytest.fixture
def recipe(tmp_path: Path, tiny_bundle: Path, textured: np.ndarray) -> Path:
    """The recipe of a line with two cameras, and known parts. `side` alone sees the defect of the bad one."""
    defect = textured.copy()
    defect[20:28, 36:44] = 255
    (tmp_path / "masters").mkdir()
    cv2.imwrite(str(tmp_path / "masters/a.png"), textured)
    sections = ""
    for name in CAMERAS:
        for kind in ("belt", "good", "bad"):
            (tmp_path / kind / name).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / f"good/{name}/1.a.png"), textured)
        cv2.imwrite(str(tmp_path / f"bad/{name}/1.a.png"), defect if name == "side" else textured)
        # Parts take long from one camera to the other, and those of the test do not.
        place = "" if name == "top" else "at = 40000\nwindow = 1\n"
        sections += (
            f'[[camera]]\nname = "{name}"\n{place}[camera.source]\nkind = "folder"\nwidth = 64\nheight = 64\n'
            f'files = "belt/{name}/*.{{view}}.png"\nwatch = true\n'
        )
    path = tmp_path / "recipe.toml"
    path.write_text(
        f'line = "{line_name(tmp_path)}"\nbundle = "{tiny_bundle}"\nmasters = "masters/{{view}}.png"\n'
        f'[publish]\nendpoints = ["ipc://{tmp_path}/verdicts.ipc"]\n[metrics]\nport = 0\n'
        f"[timing]\ndeadline_ms = 50000\n{sections}"
    )
    return path


def test_a_part_is_judged_by_the_pictures_of_all_cameras(tmp_path: Path, recipe: Path) -> None:
    """A defect that one camera sees rejects the part, and so does the picture that one camera lacks."""
    known = ("--good", str(tmp_path / "good"), "--bad", str(tmp_path / "bad"))
    orders = ("--order", "consecutive", "--order", "fail-safe", "--parts", "1")
    words = ("ctl", "--line", line_name(tmp_path), "challenge", *known, *orders, "--json")
    with running(recipe) as line:
        line.pid("capture.top")
        done = subprocess.run(
            [sys.executable, "-c", ONLY_PULLED, *words], capture_output=True, text=True, timeout=100
        )
        stop(line)
    assert done.returncode == 0, done.stderr
    report = msgspec.json.decode(done.stdout, type=Report)
    assert report.cameras == CAMERAS
    assert [(one.step.fault, one.step.camera, one.said.verdict, one.said.reason) for one in report.tested] == [
        ("", "", "reject", "defect"),
        (PULLED, "top", "unknown", "stray"),
        ("", "", "pass", "clean"),
        (PULLED, "side", "unknown", "missing"),
        ("", "", "pass", "clean"),
    ]
    seen = [[Path(name).parts[-3] for name in one.said.pictures] for one in report.tested]
    assert seen == [["top", "side"], ["side"], ["top", "side"], ["top"], ["top", "side"]]
