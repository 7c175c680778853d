"""Following a line's verdicts: each once, in the order of their numbers, from the ledgers of all cameras."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parts import part_of

from edge.memory.follow import Follower
from edge.memory.ledger import ROWS, Ledger, Record

CAMERAS = ("top", "side")


class Desk:
    """Two ledgers, and a publish that records, sends and counts verdicts one after another."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.ledgers = {name: Ledger.create(folder / name) for name in CAMERAS}
        self.number = 0

    def record(self, camera: str, numbered: bool = True) -> None:
        ledger = self.ledgers[camera]
        entry = ledger.captured
        ledger.enter(msgspec.structs.replace(part_of(entry), camera=camera))
        self.number += numbered
        number = self.number if numbered else 0
        ledger.record(entry, Record(topic=b"t", body=b"b", reason="clean", published_ns=1, number=number))

    def count(self, camera: str) -> None:
        self.ledgers[camera].set_published(self.ledgers[camera].published)

    def publish(self, camera: str, numbered: bool = True) -> None:
        self.record(camera, numbered)
        self.count(camera)


@given(st.lists(st.one_of(st.sampled_from(CAMERAS), st.just("take"), st.just("look")), max_size=60))
@settings(max_examples=50)
def test_each_verdict_is_read_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    """Whoever reads more or less often, and however the cameras take turns; what is no verdict is left out."""
    desk = Desk(tmp_path_factory.mktemp("desk") / "d")
    follower, found = Follower(desk.ledgers), []
    for step in steps:
        if step == "take":
            found += follower.take()
        else:
            desk.publish("side" if step == "look" else step, numbered=step != "look")
    found += follower.take()
    assert [one.number for one in found] == list(range(1, desk.number + 1))
    assert all(one.record.number == one.number for one in found)
    assert follower.lost == 0


def test_a_verdict_that_was_recorded_and_not_counted_is_not_read(tmp_path: Path) -> None:
    """It may not have been sent; it is read once publish has counted it."""
    desk = Desk(tmp_path / "d")
    follower = Follower(desk.ledgers)
    desk.record("top")
    assert follower.take() == []
    desk.count("top")
    assert [one.number for one in follower.take()] == [1]


def test_verdicts_whose_rows_were_used_again_are_counted_as_lost(tmp_path: Path) -> None:
    """Who was away for longer than the ledger holds knows how many verdicts there were meanwhile."""
    desk = Desk(tmp_path / "d")
    follower = Follower(desk.ledgers)
    for _ in range(ROWS + 100):
        desk.publish("top")
    found = follower.take()
    assert [found[0].number, found[-1].number] == [101, ROWS + 100]
    assert follower.lost == 100
    desk.publish("side")
    assert [one.number for one in follower.take()] == [ROWS + 101]
    assert follower.lost == 100


def test_who_begins_later_reads_from_there_on(tmp_path: Path) -> None:
    """A follower that knows the verdicts up to a number does not read them again."""
    desk = Desk(tmp_path / "d")
    for camera in ("top", "side", "top"):
        desk.publish(camera)
    follower = Follower(desk.ledgers, after=2)
    assert [(one.number, one.part.camera) for one in follower.take()] == [(3, "top")]
    assert follower.lost == 0
