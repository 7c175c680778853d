"""A camera goes wrong in many ways: no damaged frame passes, each is counted, and the line judges on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_camera import FaultyCamera, faulty_camera
from lines import write_recipe
from numbered import EXACTLY, write_parts
from watched import Watched

FPS = 40
TIMEOUT_MS = 3000  # so that only a fault ends the connection


@pytest.fixture(scope="module")
def camera() -> Iterator[FaultyCamera]:
    with faulty_camera(FPS) as one:
        yield one


@pytest.fixture(scope="module")
def line(
    camera: FaultyCamera, tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path
) -> Iterator[Watched]:
    """A line on this camera."""
    folder = tmp_path_factory.mktemp("line")
    write_parts(folder)  # for the master, which is called as the camera
    source = (
        f'kind = "video"\naddress = "{camera.address}"\ncamera = "a"\nwidth = 64\nheight = 64\n'
        f"timeout_ms = {TIMEOUT_MS}"
    )
    recipe = write_recipe(folder, tiny_bundle, source, EXACTLY + "[timing]\ndeadline_ms = 500\n")
    with Watched(
        recipe, lambda key, ref: camera.number_of({epoch for epoch, _ in list(found.captured)}, key, ref)
    ) as found:
        yield found


def damaged(line: Watched, camera: FaultyCamera) -> int:
    """How many frames the camera has sent damaged."""
    return sum(number is None for numbers in camera.sent for number in numbers)


@pytest.mark.parametrize("fault", ["truncate", "shorten", "resize", "noise"])
def test_a_damaged_frame_is_unknown(accounted: Watched, camera: FaultyCamera, fault: str) -> None:
    """Two in a row: each is one part, unknown for its frame, and the connection stays."""
    connections, before = len(camera.sent), len(frames(accounted))
    camera.faults.extend([fault, fault])
    accounted.until(lambda: len(frames(accounted)) == before + 2, "both frames are unknown")
    assert len(camera.sent) == connections


def frames(line: Watched) -> set[tuple[int, int]]:
    """The parts that are unknown for their frame."""
    return {verdict.id for verdict in line.ear.verdicts if verdict.body["reason"] == "frame"}


def test_a_repeated_frame_is_a_part_of_its_own(accounted: Watched, camera: FaultyCamera) -> None:
    """Each has its own verdict, and both are right."""
    camera.faults.append("repeat")
    accounted.until(lambda: not camera.faults, "the frame is sent twice")


@pytest.mark.parametrize("fault", ["disconnect", "stall"])
def test_a_camera_that_is_lost_is_opened_again(accounted: Watched, camera: FaultyCamera, fault: str) -> None:
    """In the middle of a frame, which never passes; what comes after is judged."""
    connections = len(camera.sent)
    camera.faults.append(fault)
    accounted.until(lambda: len(camera.sent) > connections, "the line has connected again")


def test_each_frame_that_came_is_a_part(accounted: Watched, camera: FaultyCamera) -> None:
    """Their numbers have no gap, on each connection."""
    accounted.account()
    numbers: dict[int, list[int]] = {}
    for (epoch, _), found in sorted(dict(accounted.captured).items()):
        numbers.setdefault(epoch, []).append(int(found.source_ref.removeprefix("frame ")))
    assert all(found == list(range(1, len(found) + 1)) for found in numbers.values())
    sent = [len(found) for found in camera.sent if found][:-1]  # on those that have ended
    assert [len(found) for found in numbers.values()][:-1] == pytest.approx(sent, abs=1)
