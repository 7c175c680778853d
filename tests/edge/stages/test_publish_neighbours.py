"""A part that the ejector cannot part from its neighbour goes with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from belt_desk import MS, BeltDesk
from belt_stations import DUE, SETTLED, SIDE

from edge.belt.course import ENTRY_NS
from edge.belt.layout import Layout


@pytest.mark.parametrize(
    ("distances_ms", "bad", "reasons"),
    [
        ([0, 100], {0}, ["defect", "gap"]),
        ([0, 100], {1}, ["gap", "defect"]),
        ([0, 100, 200], {2}, ["gap", "gap", "defect"]),
        ([0, 100, 250], {0}, ["defect", "gap", "clean"]),
        ([0, 150], {0}, ["defect", "clean"]),
        ([0, 100, 200], set(), ["clean", "clean", "clean"]),
    ],
    ids=["the one behind", "the one before", "in a row", "up to the gap", "far enough", "all good"],
)
def test_parts_that_the_ejector_cannot_part_go_together(
    tmp_path: Path, distances_ms: list[int], bad: set[int], reasons: list[str]
) -> None:
    """A good part too near to a rejected one is rejected, reason `gap`, and its verdict names the other."""
    desk = BeltDesk(
        tmp_path,
        ("top",),
        Layout(several=True, eject_at=2000 * MS, lead_ns=100 * MS, min_gap=150 * MS),
    )
    for number, at_ms in enumerate(distances_ms):
        desk.see(at_ms * MS, 0.9 if number in bad else 0.1)
    found = desk.publish(1000 * MS)
    assert [verdict.reason for _, verdict in found] == reasons
    for topic, verdict in found:
        assert topic == ("accept.caps" if verdict.reason == "clean" else "reject.caps")
        if verdict.reason == "gap":
            assert verdict.verdict == "reject"
            assert "too near to part 1-" in verdict.detail
            assert "rejected" in verdict.detail


NEAR = Layout(stations=(SIDE,), several=True, eject_at=2000 * MS, lead_ns=100 * MS, min_gap=150 * MS)


def test_a_good_part_with_an_undecided_neighbour_is_rejected_in_time(tmp_path: Path) -> None:
    """Nobody knows whether the one behind will be blown off, so the good one waits, and goes when it is due."""
    desk = BeltDesk(tmp_path, ("top", "side"), NEAR)
    desk.see(0)
    desk.judge(desk.enter("top", 100 * MS))
    desk.enter("side", 1100 * MS)
    assert desk.publish(DUE - 1) == []
    ((topic, verdict),) = desk.publish(DUE)
    assert (topic, verdict.verdict, verdict.reason) == ("reject.caps", "reject", "gap")
    assert verdict.detail == "too near to part 1-2, which is not decided"


def test_a_good_part_waits_until_none_can_come_too_near(tmp_path: Path) -> None:
    """Its verdict is not given while a part could still follow that the ejector cannot part from it."""
    layout = Layout(several=True, eject_at=2000 * MS, lead_ns=100 * MS, min_gap=300 * MS)
    desk = BeltDesk(tmp_path, ("top",), layout)
    desk.see(0)
    assert desk.publish(300 * MS + ENTRY_NS - 1) == []
    assert [verdict.reason for _, verdict in desk.publish(300 * MS + ENTRY_NS)] == ["clean"]


@pytest.mark.parametrize(
    ("accepted", "reason"), [((), "gap"), (("stray",), "clean")], ids=["rejected strays", "accepted strays"]
)
def test_a_part_near_to_a_stray_goes_with_it(tmp_path: Path, accepted: tuple[str, ...], reason: str) -> None:
    """Where the recipe rejects strays, the ejector blows at the place of one, and takes the part near to it."""
    desk = BeltDesk(tmp_path, ("top", "side"), NEAR, accepted=accepted)
    desk.see(0)
    desk.judge(desk.enter("side", 1110 * MS))
    found = [verdict.reason for _, verdict in desk.publish(SETTLED + 200 * MS)]
    assert sorted(found) == sorted(["stray", reason])


def test_what_was_decided_before_a_restart_counts_as_a_neighbour(tmp_path: Path) -> None:
    """A publish that takes over knows which part before was rejected."""
    desk = BeltDesk(tmp_path, ("top", "side"), NEAR)
    desk.see(0, 0.9)
    second = desk.see(100 * MS)
    assert [verdict.reason for _, verdict in desk.publish(SETTLED)] == ["defect"]
    desk.publisher = desk.publisher_anew()
    for part in second.values():
        desk.judge(part)
    assert [verdict.reason for _, verdict in desk.publish(SETTLED + 200 * MS)] == ["gap"]
