"""A simulated belt shows each camera the same boards, with the faults of triggers that the recipe asks for."""

from __future__ import annotations

import json
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from edge.belt.boards import Shown, triggers
from edge.belt.motion import Motion
from edge.errors import SourceEnded, SourceError
from edge.recipe import SimulatedBelt, SimulatedEncoder
from edge.sources import EarlierPicture, Source, Trigger, open_source
from edge.sources.belt import EMPTY, Scene

SIZE = 64
MS = 1_000_000
SOME = {"lost": 0.1, "doubled": 0.1, "spurious": 0.1, "jitter": 3.0}


def section(**keys: object) -> SimulatedBelt:
    return SimulatedBelt(**{"width": SIZE, "height": SIZE, "pitch": 100.0, **keys})  # type: ignore[arg-type]


def shown_by(number: int, parts: int = 1000, at: int = 0, **keys: object) -> list[Shown]:
    return list(triggers(section(parts=parts, **keys), number, at, 1))


def test_a_camera_without_faults_sees_each_board_once() -> None:
    """Boards pass one pitch after the other, and later at a camera further down the belt."""
    seen = shown_by(1, parts=5, at=250)
    assert [(one.count, one.board, one.position) for one in seen] == [
        (n, n, 250 + 100 * n) for n in range(1, 6)
    ]


@pytest.mark.parametrize(
    ("kind", "keys"),
    [("doubled", {"doubled": 0.1}), ("empty", {"spurious": 0.1}), ("lost", {"lost": 0.1})],
    ids=["doubled", "spurious", "lost"],
)
def test_as_many_triggers_are_wrong_as_the_recipe_says(kind: str, keys: dict[str, float]) -> None:
    """One in ten of a thousand boards, and other ones at each camera."""
    found = [
        {one.board for one in shown_by(number, **keys) if kind in ("lost", one.kind)} for number in range(3)
    ]
    if kind == "lost":
        found = [set(range(1, 1001)) - boards for boards in found]
    assert all(70 < len(boards) < 130 for boards in found)
    assert len(found[0] & found[1]) < 40
    assert found[1] != found[2]


def test_triggers_come_in_order_and_are_counted() -> None:
    """With all faults at once, positions still rise, and each trigger has the next number."""
    seen = shown_by(2, **SOME)
    positions = [one.position for one in seen]
    assert positions == sorted(positions)
    assert [one.count for one in seen] == list(range(1, len(seen) + 1))
    assert seen == shown_by(2, **SOME)
    assert seen != shown_by(2, seed=1, **SOME)


def take(source: Source, count: int) -> list[tuple[Trigger, np.ndarray]]:
    found = []
    while len(found) < count:
        if (trigger := source.wait(0.05)) is not None:
            out = np.zeros((SIZE, SIZE), np.uint8)
            source.read(out)
            found.append((trigger, out))
    return found


def scene(number: int = 0, at: int = 0, **keys: object) -> Scene:
    start_ns = time.monotonic_ns()
    return Scene(**{"camera": f"c{number}", "number": number, "at": at, "start_ns": start_ns, **keys})  # type: ignore[arg-type]


def test_two_cameras_see_the_same_boards(tmp_path: Path) -> None:
    """The pictures of a board are the same at both, later at the second; the truth says which board each is."""
    start_ns = time.monotonic_ns()
    both, told = [], []
    for number, at in ((0, 0), (1, 30 * MS)):
        truth = tmp_path / f"{number}.jsonl"
        keys = section(pitch=10.0, parts=4, truth=str(truth))
        with open_source(keys, (), scene(number, at, start_ns=start_ns)) as source:
            both.append(take(source, 4))
            with pytest.raises(SourceEnded, match="all 4 boards have passed"):
                source.wait(0.01)
        told.append([json.loads(line) for line in truth.read_text().splitlines()])
    first, second = both
    assert (
        [t.source_ref for t, _ in first]
        == [t.source_ref for t, _ in second]
        == [f"board {n}" for n in range(1, 5)]
    )
    assert [t.captured_ns - start_ns for t, _ in first] == [10 * n * MS for n in range(1, 5)]
    assert [b.captured_ns - a.captured_ns for (a, _), (b, _) in zip(first, second, strict=True)] == [
        30 * MS
    ] * 4
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(first, second, strict=True))
    assert [(one["board"], one["count"], one["captured_ns"]) for one in told[1]] == [
        (n, n, t.captured_ns) for n, (t, _) in enumerate(second, 1)
    ]


def test_a_spurious_trigger_shows_the_empty_belt() -> None:
    """A picture without light, so that no judge takes it for a part."""
    with open_source(section(pitch=4.0, spurious=1.0), (), scene()) as source:
        found = take(source, 4)
    assert [trigger.source_ref for trigger, _ in found] == ["board 1", "empty belt", "board 2", "empty belt"]
    assert all((picture == EMPTY).all() == bool(n % 2) for n, (_, picture) in enumerate(found))


def test_a_restarted_camera_counts_on() -> None:
    """Boards that passed while it was away are missing in its count, and the next one has its own number."""
    here = scene()
    with open_source(section(pitch=5.0), (), here) as source:
        last = take(source, 3)[-1][0]
    time.sleep(0.03)
    earlier = [EarlierPicture(last.source_ref, last.captured_at_ns, last.captured_ns, last.count)]
    with open_source(section(pitch=5.0), earlier, here) as source:
        ((again, _),) = take(source, 1)
    assert again.count >= 8
    assert again.captured_ns - last.captured_ns == (again.count - last.count) * 5 * MS


def test_the_last_board_of_all_is_shown_after_a_restart() -> None:
    """A line whose boards have all passed meanwhile still knows how many there were."""
    here = scene(start_ns=time.monotonic_ns() - 1000 * MS)
    with open_source(section(pitch=5.0, parts=20), [EarlierPicture("", 0, 0, 3)], here) as source:
        assert take(source, 1)[0][0].count == 20
    done = open_source(section(pitch=5.0, parts=20), [EarlierPicture("", 0, 0, 20)], here)
    with done, pytest.raises(SourceEnded):
        done.wait(0)


def test_boards_move_as_the_encoder_says() -> None:
    """On a simulated encoder a board reaches a camera when the belt has moved that far."""
    motion = Motion(SimulatedEncoder(ticks_per_s=2000, slip=0.5))
    here = scene(at=40, motion=motion)
    with open_source(section(pitch=20.0), (), here) as source:
        found = take(source, 3)
    moved = [motion.position(t.captured_ns) - motion.position(here.start_ns) for t, _ in found]
    assert moved == pytest.approx([60, 80, 100], abs=1)


def test_the_truth_cannot_be_written(tmp_path: Path) -> None:
    """The error names the file and the camera."""
    keys = section(truth=str(tmp_path / "none/truth.jsonl"))
    with pytest.raises(SourceError, match="cannot write truth of c0"), open_source(keys, (), scene()):
        pass


def test_boards_never_end_without_a_number_of_parts() -> None:
    """With `parts = 0` the belt runs on."""
    assert len(list(islice(triggers(section(), 0, 0, 1), 5000))) == 5000
