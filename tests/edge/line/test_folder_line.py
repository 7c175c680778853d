"""A line on a folder that others use as they like: every picture gets its verdict, and only one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from lines import UNHURRIED, Subscriber, running, stop, until, write_boards, write_recipe


def test_names_that_no_verdict_could_hold_stop_nothing(
    tmp_path: Path, tiny_bundle: Path, textured: np.ndarray
) -> None:
    """Names that are not UTF-8, full of control characters, or longer than a verdict has room for."""
    source = write_boards(tmp_path, {"0": True}, textured).replace("frames/", "**/") + "\nfps = 20"
    data = cv2.imencode(".png", textured)[1].tobytes()
    deep = os.fsencode(tmp_path / "frames")
    for letter in (b"d", b"e", b"f"):
        deep += b"/" + letter * 200
    os.makedirs(deep)
    frames = os.fsencode(tmp_path / "frames")
    for path in (
        frames + b"/1-M\xfcller.a.png",
        frames + b"/2-\n\x1b[31m.a.png",
        frames + b"/3-kept.M\xfcnchen.png",
        frames + b"/4-kept." + b"v" * 140 + b".png",
        deep + b"/5-\xff.a.png",
    ):
        Path(os.fsdecode(path)).write_bytes(data)
    (tmp_path / "frames/6-damaged-\udcfc.a.png").write_bytes(b"nothing")
    recipe = write_recipe(tmp_path, tiny_bundle, source, UNHURRIED)
    with Subscriber(tmp_path) as subscriber, running(recipe) as line:
        status, said = line.wait()
        until(lambda: len(subscriber.verdicts) >= 7, "the last verdict is heard")
    assert status == 0, said
    found = {verdict.source_ref.rpartition("/")[2]: verdict for _, verdict in subscriber.verdicts}
    assert {name: verdict.reason for name, verdict in found.items()} == {
        "0.a.png": "clean",
        r"1-M\xfcller.a.png": "clean",
        r"2-\n\x1b[31m.a.png": "clean",
        r"3-kept.M\xfcnchen.png": "view",
        f"4-kept.{'v' * 140}.png": "view",
        r"5-\xff.a.png": "clean",
        r"6-damaged-\xfc.a.png": "frame",
    }
    long = found[r"5-\xff.a.png"].source_ref
    assert long.startswith("…")
    assert 505 < len(long.encode()) <= 512
    assert r"6-damaged-\xfc.a.png: expected a picture" in found[r"6-damaged-\xfc.a.png"].detail


def test_a_capture_that_is_killed_goes_on_behind_the_last_part(
    tmp_path: Path, tiny_bundle: Path, textured: np.ndarray
) -> None:
    """Over two restarts no picture is judged twice, and none is left out."""
    boards = {f"{number:03}": True for number in range(60)}
    source = write_boards(tmp_path, boards, textured) + "\nfps = 20"
    recipe = write_recipe(tmp_path, tiny_bundle, source, "[timing]\ndeadline_ms = 2000")
    with Subscriber(tmp_path) as subscriber, running(recipe) as line:
        for count in (5, 15):
            until(lambda count=count: len(subscriber.verdicts) >= count, "some verdicts", line)
            line.kill("capture")
            until(lambda: line.pid("capture"), "capture is back", line)
        status, said = line.wait()
        until(lambda: len(subscriber.verdicts) >= len(boards), "the last verdict is heard")
    assert status == 0, said
    assert [Path(verdict.source_ref).name[:3] for _, verdict in subscriber.verdicts] == list(boards)
    assert len({verdict.epoch for _, verdict in subscriber.verdicts}) == 3


def test_a_watched_folder_is_judged_as_it_fills(
    tmp_path: Path, tiny_bundle: Path, textured: np.ndarray
) -> None:
    """Also over a restart of capture: each picture once."""
    source = write_boards(tmp_path, {"0": True}, textured) + "\nwatch = true\nfps = 20"
    recipe = write_recipe(tmp_path, tiny_bundle, source, "[timing]\ndeadline_ms = 2000")
    data = cv2.imencode(".png", textured)[1].tobytes()
    with Subscriber(tmp_path) as subscriber, running(recipe) as line:
        until(lambda: len(subscriber.verdicts) == 1, "what was there is judged", line)
        for number in range(1, 10):
            (tmp_path / "beside").write_bytes(data)
            (tmp_path / "beside").rename(tmp_path / f"frames/{number}.a.png")
            if number == 4:
                until(lambda: len(subscriber.verdicts) >= 3, "some are judged", line)
                line.kill("capture")
        until(lambda: len(subscriber.verdicts) >= 10, "all are judged", line)
        stop(line)
    counts = Counter(Path(verdict.source_ref).name for _, verdict in subscriber.verdicts)
    assert counts == {f"{number}.a.png": 1 for number in range(10)}, json.dumps(counts)


def test_a_watched_folder_may_be_empty(tmp_path: Path, tiny_bundle: Path, textured: np.ndarray) -> None:
    """`edge check` says so, and is content."""
    source = write_boards(tmp_path, {}, textured) + "\nwatch = true"
    recipe = write_recipe(tmp_path, tiny_bundle, source)
    command = [sys.executable, "-m", "edge", "check", str(recipe)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "no picture is in the folder that is watched" in done.stdout
