"""Bad pictures and wrong set-ups, on a real line: each part is unknown for its reason, each mistake is said."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
from bundles import altered, calibration
from lines import UNHURRIED, Subscriber, judge, running, until, write_boards, write_recipe

BOARDS = {"00-good": True, "10-good": True}


def test_each_bad_picture_is_unknown_for_its_reason(
    tmp_path: Path, tiny_bundle: Path, textured: np.ndarray
) -> None:
    """Truncated, oversized, coloured, black, foreign and masterless pictures: unknown, rejected, none lost."""
    source = write_boards(tmp_path, BOARDS, textured) + "\nfps = 20"
    frames = tmp_path / "frames"
    whole = cv2.imencode(".png", textured)[1].tobytes()
    (frames / "01-truncated.a.png").write_bytes(whole[: len(whole) // 2])
    (frames / "02-empty.a.png").write_bytes(b"")
    cv2.imwrite(str(frames / "03-large.a.png"), cv2.resize(textured, (80, 64)))
    colour = cv2.cvtColor(textured, cv2.COLOR_GRAY2BGR) * np.array([1, 0.5, 0.2])
    cv2.imwrite(str(frames / "04-colour.a.png"), colour.astype(np.uint8))
    cv2.imwrite(str(frames / "05-black.a.png"), np.zeros_like(textured))
    cv2.imwrite(str(frames / "06-foreign.a.png"), np.random.default_rng(3).integers(0, 255, (64, 64), np.uint8))
    cv2.imwrite(str(frames / "07-masterless.b.png"), textured)
    expected = ["clean", "frame", "frame", "frame", "frame", "dark", "registration", "view", "clean"]
    recipe = write_recipe(tmp_path, tiny_bundle, source, UNHURRIED)
    with Subscriber(tmp_path) as subscriber, running(recipe) as line:
        status, said = line.wait()
        until(lambda: len(subscriber.verdicts) >= len(expected), "the last verdict is heard")
    assert status == 0, said
    assert [verdict.reason for _, verdict in subscriber.verdicts] == expected
    for topic, verdict in subscriber.verdicts:
        assert topic.startswith("accept." if verdict.reason == "clean" else "reject.")
        assert (verdict.detail == "") == (verdict.reason == "clean")


def check(recipe: Path, command: str = "check") -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "edge", command, str(recipe)]
    environment = {**os.environ, "XDG_STATE_HOME": str(recipe.parent / "state")}
    return subprocess.run(words, capture_output=True, text=True, env=environment, timeout=60)


def refused(recipe: Path, command: str = "run") -> str:
    """What `edge` says when it ends with status 1, in one line."""
    done = check(recipe, command)
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


@pytest.fixture
def line_of(tmp_path: Path, tiny_bundle: Path, textured: np.ndarray) -> Callable[[str, str], Path]:
    """Makes the recipe of a good line with one text replaced by another."""

    def make(old: str, new: str) -> Path:
        recipe = write_recipe(tmp_path, tiny_bundle, write_boards(tmp_path, BOARDS, textured))
        text = recipe.read_text()
        assert old in text
        recipe.write_text(text.replace(old, new))
        return recipe

    return make


VIDEO = 'kind = "video"\naddress = "/dev/video97"'
LIMITS = "[rule.thresholds]\n"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('kind = "folder"\nfiles = "frames/*.{view}.png"', VIDEO, "/dev/video97"),
        ("frames/*", "nothing/*", "nothing/*.{view}.png"),
        ('/tiny"', '/tinier"', "manifest.json"),
        ("[publish]", f"{LIMITS}scratch = 5\n[publish]", "has no kind 'scratch'; its kinds are spot, shade"),
        ("[publish]", f"{LIMITS}spot = 50\n[publish]", "[rule.thresholds] spot: expected a number from 0 to 1"),
    ],
    ids=["no camera", "no pictures", "no bundle", "a threshold of an unknown kind", "a threshold in per cent"],
)
def test_a_mistake_in_a_recipe_is_said_at_the_start(
    line_of: Callable[[str, str], Path], old: str, new: str, expected: str
) -> None:
    """What does not open, matches nothing, is not there or is not known is named before the line is armed."""
    assert expected in refused(line_of(old, new))


@pytest.mark.parametrize("command", ["run", "check"])
def test_drawings_for_a_comparator_are_said_at_the_start(
    line_of: Callable[[str, str], Path], command: str
) -> None:
    """Drawings that nothing looks at are an error that names recipe and key and says what to do."""
    recipe = line_of("[source]", 'drawings = "frames/*.png"\n[source]')
    said = refused(recipe, command)
    assert f"{recipe}: drawings: only a matcher compares parts with drawings" in said
    assert "delete the key" in said


def test_a_fusion_without_calibration_is_said_at_the_start(
    tmp_path: Path, score_bundle: Path, textured: np.ndarray
) -> None:
    """Judges whose scores have no p-values cannot agree by them."""
    judges = judge("left", score_bundle, crop=[0, 0, 32, 64]) + judge(
        "right", score_bundle, crop=[32, 0, 32, 64]
    )
    source = write_boards(tmp_path, BOARDS, textured)
    said = refused(write_recipe(tmp_path, None, source, f"{judges}[fusion]\nfalse_reject = 0.01"))
    assert "[fusion]: judge 'left' has a bundle without calibration" in said


def test_a_metrics_port_in_use_is_said_at_the_start(line_of: Callable[[str, str], Path]) -> None:
    """A port that something else holds is an error that names the key."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = refused(line_of("port = 0", f"port = {taken.getsockname()[1]}"))
    assert "metrics.port" in said


def test_check_tells_what_it_found(line_of: Callable[[str, str], Path]) -> None:
    """`edge check` of a good line lists recipe, bundle, engine, source and master and ends with 0."""
    done = check(line_of("port = 0", "port = 0"))
    assert done.returncode == 0, done.stderr
    for what in ("recipe", "bundle", "rule", "engine", "source", "master"):
        assert f"ok  {what}" in done.stdout
    missing = "tensorrt left out: tensorrt is not installed: pip install 'linejudge[gpu]'"
    assert find_spec("tensorrt") or f"--  engine    {missing}" in done.stdout


def test_check_looks_at_every_judge(
    tmp_path: Path, tiny_bundle: Path, score_bundle: Path, matcher_bundle: Path, textured: np.ndarray
) -> None:
    """Each one's bundle, rule and engine, a matcher's drawings, a comparator's master; what is promised too."""
    source = write_boards(tmp_path, BOARDS, textured)
    cv2.imwrite(str(tmp_path / "side.png"), textured)
    calibrated = altered(score_bundle, tmp_path / "calibrated", calibration=calibration([0.1, 0.11, 0.12]))
    judges = (
        judge("defects", tiny_bundle, masters=f"{tmp_path}/masters/{{view}}.png")
        + judge("odd", calibrated)
        + judge("product", matcher_bundle, drawings=f"{tmp_path}/side.png")
    )
    done = check(write_recipe(tmp_path, None, source, judges))
    assert done.returncode == 0, done.stderr
    told = done.stdout.replace("\n", " ")
    for what, count in (("bundle", 3), ("rule", 3), ("engine", 3), ("drawings", 1), ("master", 1)):
        assert told.count(f"ok  {what}") == count
    assert "anomaly 0.145; On average at most 10 % of good parts are rejected." in told


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_matcher_without_drawings_is_said_at_the_start(
    tmp_path: Path, matcher_bundle: Path, textured: np.ndarray, command: str
) -> None:
    """A matcher that knows no product is an error that names the key, before the line is armed."""
    recipe = write_recipe(tmp_path, matcher_bundle, write_boards(tmp_path, BOARDS, textured))
    assert "drawings: '' names no file" in refused(recipe, command)


def test_check_finds_a_master_of_another_size(line_of: Callable[[str, str], Path], tmp_path: Path) -> None:
    """`edge check` ends with 1 and names the master's file and both sizes."""
    recipe = line_of("port = 0", "port = 0")
    cv2.imwrite(str(tmp_path / "masters/a.png"), np.eye(50, dtype=np.uint8) * 200)
    said = refused(recipe, "check")
    assert all(told in said for told in ("masters/a.png", "50x50", "64x64"))
