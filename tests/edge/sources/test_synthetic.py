"""The rendered boards are what they claim to be: same seed same board, and each defect truly there."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from masters import master_pictures
from numpy.typing import NDArray

from edge import recipe
from edge.errors import SourceEnded, SourceError
from edge.image.register import Template, register
from edge.render.board import BARE, COPPER, design
from edge.render.defects import KINDS, Box, add_defect
from edge.render.photo import BoardPose, master, photograph
from edge.sources import EarlierPicture, Source, Trigger, open_source
from edge.sources.pace import Pace
from edge.sources.synthetic import render

SIZE = 256


def section(**changes: object) -> recipe.Synthetic:
    return recipe.Synthetic(**{"width": SIZE, "height": SIZE, "fps": 10000.0, "parts": 4, **changes})  # type: ignore[arg-type]


def play(source: Source, shape: tuple[int, ...]) -> list[tuple[Trigger, NDArray[np.uint8]]]:
    shown = []
    while True:
        try:
            trigger = source.wait(10)
        except SourceEnded:
            return shown
        assert trigger is not None
        out = np.zeros(shape, np.uint8)
        source.read(out)
        shown.append((trigger, out))


def copper_islands(art: NDArray[np.uint8], box: Box) -> int:
    """Pieces of copper in the box with some surroundings, without specks."""
    x1, y1, x2, y2 = (value + 32 for value in box)
    around = art[y1 - 8 : y2 + 8, x1 - 8 : x2 + 8] > (BARE + COPPER) // 2
    _, _, stats, _ = cv2.connectedComponentsWithStats(around.astype(np.uint8), connectivity=4)
    return int((stats[1:, cv2.CC_STAT_AREA] > 5).sum())


@pytest.mark.parametrize("kind", KINDS)
def test_a_defect_changes_its_box_and_nothing_else(kind: str) -> None:
    """Whoever looks into the box sees the defect; outside it the board is flawless."""
    board = design(3, SIZE, SIZE)
    for seed in range(12):
        art = board.art.copy()
        box = add_defect(art, kind, np.random.default_rng(seed), [])
        assert box is not None
        changed = np.abs(art.astype(int) - board.art)[32:-32, 32:-32] > (COPPER - BARE) / 2
        inside = changed[box[1] : box[3], box[0] : box[2]].sum()
        assert inside >= 30
        assert inside == changed.sum()


@pytest.mark.parametrize(("kind", "pieces"), [("open", 1), ("short", -1), ("copper", 1), ("spur", 0)])
def test_a_defect_does_to_the_copper_what_its_name_says(kind: str, pieces: int) -> None:
    """An open cuts a trace, a short joins two nets, excess copper lies alone, a spur hangs on a trace."""
    board = design(3, SIZE, SIZE)
    for seed in range(8):
        art = board.art.copy()
        box = add_defect(art, kind, np.random.default_rng(seed), [])
        assert box is not None
        assert copper_islands(art, box) - copper_islands(board.art, box) == pieces


def test_defects_keep_off_each_other() -> None:
    """Two defects of a board never share a box, so each can be counted."""
    art, boxes, rng = design(3, SIZE, SIZE).art.copy(), [], np.random.default_rng(2)
    for kind in 4 * KINDS:
        if box := add_defect(art, kind, rng, boxes):
            boxes.append(box)
    covered = np.zeros((SIZE, SIZE), int)
    for x1, y1, x2, y2 in boxes:
        covered[y1:y2, x1:x2] += 1
    assert len(boxes) >= 12
    assert covered.max() == 1


def test_a_picture_too_small_for_a_defect_stays_good() -> None:
    """A tiny picture is shown without a defect rather than with one that is not all in it."""
    for height, width in ((48, 64), (9, 500)):
        art = design(0, height, width).art
        assert add_defect(art, "open", np.random.default_rng(0), []) is None


def test_the_same_seed_shows_the_same_boards() -> None:
    """A run can be repeated to the last pixel; another seed shows other boards."""
    frames = []
    for seed in (5, 5, 6):
        with open_source(section(seed=seed, parts=2)) as source:
            frames.append(np.stack([frame for _, frame in play(source, (SIZE, SIZE))]))
    assert np.array_equal(frames[0], frames[1])
    assert not np.array_equal(frames[0], frames[2])


@pytest.mark.parametrize(
    ("width", "height", "color"), [(320, 320, "gray"), (333, 217, "gray"), (131, 250, "bgr"), (9, 8, "gray")]
)
def test_frames_have_the_size_and_colour_of_the_recipe(width: int, height: int, color: str) -> None:
    """Any size can be asked for, odd ones too, and the masters have it as well."""
    wanted = section(width=width, height=height, color=color, parts=1, views=1)
    with open_source(wanted) as source:
        [(_, frame)] = play(source, wanted.shape)
    assert frame.any()
    assert master_pictures(wanted)["design-0"].shape == wanted.shape


def test_designs_take_turns() -> None:
    """Each view comes as often as the others, and the source ends after its last part."""
    with open_source(section(parts=5, views=2)) as source:
        views = [trigger.view for trigger, _ in play(source, (SIZE, SIZE))]
        with pytest.raises(SourceEnded, match="all 5 boards"):
            source.wait(0)
    assert views == ["design-0", "design-1", "design-0", "design-1", "design-0"]


def test_the_truth_tells_which_boards_are_good(tmp_path: Path) -> None:
    """Beside each picture it is written down whether it is good; good boards look like their master."""
    truth = tmp_path / "truth.jsonl"
    wanted = section(parts=12, defect_rate=0.5, truth=str(truth))
    with open_source(wanted) as source:
        shown = play(source, wanted.shape)
        lines = [json.loads(line) for line in truth.read_text().splitlines()]  # flushed while it runs
    assert [line["sequence"] for line in lines] == list(range(1, 13))
    assert [line["view"] for line in lines] == [trigger.view for trigger, _ in shown]
    assert {line["good"] for line in lines} == {True, False}
    assert all(line["good"] == (not line["defects"]) for line in lines)


def test_the_truth_lies_where_the_defect_is_seen(tmp_path: Path) -> None:
    """The written boxes are in pixels of the picture, shifted and turned as the board is."""
    truth = tmp_path / "truth.jsonl"
    wanted = section(parts=12, defect_rate=1.0, truth=str(truth))
    with open_source(wanted) as source:
        shown = play(source, wanted.shape)
    masters = master_pictures(wanted)
    for (trigger, frame), line in zip(shown, map(json.loads, truth.read_text().splitlines()), strict=True):
        flawless = masters[trigger.view]
        pose = register(frame, Template(flawless, recipe.Register())).matrix
        laid = cv2.warpAffine(flawless, pose, frame.shape[::-1]).astype(float)
        light = cv2.GaussianBlur(frame.astype(float), (0, 0), 20) / cv2.GaussianBlur(laid, (0, 0), 20)
        there = np.abs(frame - laid * light) > 40
        seen = cv2.morphologyEx(
            there[16:-16, 16:-16].astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)
        )
        for x1, y1, x2, y2, _ in line["defects"]:
            box = seen[max(y1 - 16, 0) : y2 - 16, max(x1 - 16, 0) : x2 - 16]
            assert box.sum() >= 9
            ys, xs = np.nonzero(box)
            if min(x1, y1) > 16 and max(x2, y2) < SIZE - 16:  # as far to one side of the box as to the other
                assert xs.min() + xs.max() == pytest.approx(x2 - x1, abs=7)
                assert ys.min() + ys.max() == pytest.approx(y2 - y1, abs=7)
            box[:] = 0
        assert seen.sum() == 0


def test_a_truth_that_cannot_be_written_is_said_before_the_line_starts(tmp_path: Path) -> None:
    """The error names the file and what to do."""
    with pytest.raises(
        SourceError, match=r"nowhere/truth\.jsonl: cannot write \[source\] truth: .*make its folder"
    ):
        open_source(section(truth=str(tmp_path / "nowhere/truth.jsonl"))).__enter__()


def test_a_late_reader_does_not_shift_the_schedule() -> None:
    """Parts that were due meanwhile come at once, none is skipped, each stamped with when it was due."""
    pace = Pace(1000)
    resumed_ns = time.monotonic_ns() + 20_000_000
    while time.monotonic_ns() < resumed_ns:  # the reader is busy elsewhere
        pass
    triggers = [pace.wait(0, "a") for _ in range(15)]
    due_ns = [trigger.captured_ns for trigger in triggers if trigger]
    assert len(due_ns) == 15
    assert set(np.diff(due_ns)) == {1_000_000}


def test_waiting_gives_up_when_the_time_is_over() -> None:
    """A line that is told to stop notices it between two parts."""
    assert Pace(0.001).wait(0, "a") is None


def test_light_and_place_vary_from_part_to_part() -> None:
    """Two pictures of one good board are never the same, as under a camera."""
    board, rng = design(1, SIZE, SIZE), np.random.default_rng(3)
    one, other = (photograph(board.art, board, BoardPose.any(rng), rng) for _ in range(2))
    assert np.mean(cv2.absdiff(one, other)) > 2
    assert np.array_equal(master(board), master(board))


def test_boards_pass_while_nobody_looks(tmp_path: Path) -> None:
    """After a restart the clock goes on: boards that passed are not shown, and the next is the right one."""
    truth = tmp_path / "truth.jsonl"
    wanted = section(parts=0, fps=100, views=3, truth=str(truth))
    with open_source(wanted) as source:
        first = source.wait(10)
        assert first
    assert first.count == 1
    # The board with the number 50 passed 105 ms ago, so 10 more have passed.
    now_ns = time.monotonic_ns()
    last = EarlierPicture("", captured_at_ns=0, captured_ns=now_ns - 105_000_000, count=50)
    with open_source(wanted, [last]) as source:
        after = source.wait(10)
        assert after
        shown = np.zeros(wanted.shape, np.uint8)
        source.read(shown)
    assert after.count > 60
    assert after.captured_ns == last.captured_ns + (after.count - 50) * 10_000_000
    assert after.view == f"design-{(after.count - 1) % 3}"
    assert np.array_equal(shown, render(wanted, design((after.count - 1) % 3, SIZE, SIZE), after.count)[0])
    sequences = [json.loads(line)["sequence"] for line in truth.read_text().splitlines()]
    assert sequences == [1, after.count]


def test_the_last_board_is_shown_even_if_it_passed_meanwhile() -> None:
    """So the parts before it can be told as missing, and the source ends."""
    last = EarlierPicture("", captured_at_ns=0, captured_ns=time.monotonic_ns() - 10**9, count=3)
    with open_source(section(parts=8), [last]) as source:
        after = source.wait(10)
        assert after
        with pytest.raises(SourceEnded, match="all 8 boards"):
            source.wait(0)
    assert after.count == 8
    with (
        open_source(section(parts=8), [replace(last, count=8)]) as source,
        pytest.raises(SourceEnded, match="all 8 boards"),
    ):
        source.wait(0)
