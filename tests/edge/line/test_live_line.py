"""A line on a camera that does not wait: what it delivers is judged, unknown or counted, never lost."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from camera import camera, part
from lines import UNHURRIED, Subscriber, running, stop, until, write_boards, write_recipe

FRAMES, PER_S = 400, 200


def jpeg(picture: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def source(address: str, side: int, more: str = "", frozen_after: int = 0) -> str:
    size = f"width = {side}\nheight = {side}\ntimeout_ms = 60000\nfrozen_after = {frozen_after}"
    return f'kind = "video"\naddress = "{address}"\n{size}\n{more}'


def accounted(subscriber: Subscriber) -> int:
    return sum(1 + verdict.skipped for _, verdict in subscriber.verdicts)


@pytest.mark.parametrize("newest", [False, True])
def test_parts_and_skipped_frames_are_the_frames_that_came(
    tmp_path: Path, constant_bundle: Callable[..., Path], textured: np.ndarray, newest: bool
) -> None:
    """A camera at 200 frames a second on a line that judges 20; every tenth frame is cut."""
    whole = jpeg(textured)
    with camera() as one:
        more = "[timing]\nslots = 4\ndeadline_ms = 2000\n[engine]\nlanes = 1"
        asked = source(one.address, 64, "newest = true" if newest else "")
        recipe = write_recipe(tmp_path, constant_bundle(delay_ms=50), asked, more)
        with Subscriber(tmp_path) as subscriber, running(recipe) as line:
            until(lambda: subscriber.heartbeats, "the line is heard", line)
            start = time.monotonic()
            for number in range(FRAMES):
                one.send(part(whole if number % 10 else whole[:-60]))
                time.sleep(max(0, start + number / PER_S - time.monotonic()))
            until(lambda: accounted(subscriber) >= FRAMES, "all frames are accounted for", line)
            stop(line)
    verdicts = [verdict for _, verdict in subscriber.verdicts]
    assert accounted(subscriber) == FRAMES
    assert [verdict.sequence for verdict in verdicts] == list(range(1, len(verdicts) + 1))
    reasons = Counter(verdict.reason for verdict in verdicts)
    assert reasons.keys() <= {"clean", "frame", "overrun", "late"}
    assert reasons["clean"] > 0
    frames = np.cumsum([1 + verdict.skipped for verdict in verdicts])
    assert [v.source_ref for v in verdicts] == [f"frame {number}" for number in frames]
    cut = [verdict for verdict, number in zip(verdicts, frames, strict=True) if number % 10 == 1]
    assert {verdict.verdict for verdict in cut} == {"unknown"}
    assert newest == (sum(verdict.skipped for verdict in verdicts) > 0)


def test_a_cut_part_behind_a_good_one_never_passes(
    tmp_path: Path, tiny_bundle: Path, textured: np.ndarray
) -> None:
    """A decoder would fill what is missing of a bad part with the good one before, and it would pass."""
    write_boards(tmp_path, {}, textured)
    bad = textured.copy()
    bad[20:28, 36:44] = 255
    cut = jpeg(bad)[: len(jpeg(bad)) * 4 // 10]
    with camera() as one:
        recipe = write_recipe(tmp_path, tiny_bundle, source(one.address, 64, 'camera = "a"'), UNHURRIED)
        with Subscriber(tmp_path) as subscriber, running(recipe) as line:
            until(lambda: subscriber.heartbeats, "the line is heard", line)
            one.send(part(jpeg(textured)), part(cut), part(jpeg(textured)), part(jpeg(bad)))
            until(lambda: len(subscriber.verdicts) == 4, "all parts have their verdict", line)
            stop(line)
    found = [(verdict.verdict, verdict.reason) for _, verdict in subscriber.verdicts]
    assert found == [("pass", "clean"), ("unknown", "frame"), ("pass", "clean"), ("reject", "defect")]


def test_a_frozen_camera_passes_no_part(tmp_path: Path, tiny_bundle: Path, textured: np.ndarray) -> None:
    """The camera sends the picture of a good part again and again; a defective part may pass meanwhile."""
    write_boards(tmp_path, {}, textured)
    other = textured.copy()
    other[0, 0] ^= 8
    good = part(jpeg(textured))
    with camera() as one:
        asked = source(one.address, 64, 'camera = "a"', frozen_after=1)
        recipe = write_recipe(tmp_path, tiny_bundle, asked, UNHURRIED + "[alarms]\nfrozen = 2")
        with Subscriber(tmp_path) as subscriber, running(recipe) as line:
            until(lambda: subscriber.heartbeats, "the line is heard", line)
            one.send(good, good, good, part(jpeg(other)))
            until(lambda: len(subscriber.verdicts) == 4, "all parts have their verdict", line)
            stop(line)
    found = [(verdict.verdict, verdict.reason) for _, verdict in subscriber.verdicts]
    assert found == [("pass", "clean"), ("unknown", "frozen"), ("unknown", "frozen"), ("pass", "clean")]
    assert "source.frozen_after" in subscriber.verdicts[1][1].detail
    assert [verdict.image and verdict.image.repeats for _, verdict in subscriber.verdicts] == [0, 1, 2, 0]
