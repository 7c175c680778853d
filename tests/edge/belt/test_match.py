"""The worst fault that a line can have must not happen: a look that is credited to another part."""

from __future__ import annotations

import random

import pytest
from belts import JITTER, PITCH, WINDOW, Line, Rates, belt
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.belt.match import Station, fate_of, look_of, part_of
from edge.belt.places import NOWHERE, Places, places_of

SIDE = Station(name="side", at=1000, window=100)
RATES = st.builds(Rates, lost=st.floats(0, 0.4), doubled=st.floats(0, 0.4), spurious=st.floats(0, 0.4))
SEEDS = st.integers(0, 2**32)


def pairs(line: Line, camera: int) -> dict[int, int]:
    """Which look each part has at a camera, after the belt has passed."""
    parts, looks = line.places(0), line.places(camera)
    found = {part: look_of(part, parts, looks, line.stations[camera]) for part in range(len(line.positions[0]))}
    return {part: look for part, look in found.items() if look is not None}


@given(seed=SEEDS, cameras=st.integers(1, 8), rates=RATES)
@settings(max_examples=60, deadline=None)
def test_no_look_is_credited_to_another_part(seed: int, cameras: int, rates: Rates) -> None:
    """Whatever triggers are lost, doubled, spurious and jittered: a part's looks show the board of the part."""
    line = belt(seed, cameras, 25, rates)
    for camera in range(1, cameras):
        for part, look in pairs(line, camera).items():
            assert len({line.boards[0][part], line.boards[camera][look]} - {None}) <= 1


@given(seed=SEEDS, cameras=st.integers(2, 8), rates=RATES)
@settings(max_examples=60, deadline=None)
def test_faults_at_one_board_cost_no_other_board_its_looks(seed: int, cameras: int, rates: Rates) -> None:
    """A board that each camera has seen once, with nothing else near to it, has all of its looks."""
    line = belt(seed, cameras, 25, rates)
    for camera in range(1, cameras):
        found = pairs(line, camera)
        for board in filter(line.is_plain, range(len(line.at))):
            part, look = line.boards[0].index(board), line.boards[camera].index(board)
            assert found.get(part) == look


@given(
    parts=st.lists(st.integers(0, 400), max_size=12),
    looks=st.lists(st.integers(0, 400), max_size=12),
    window=st.integers(0, 150),
)
def test_pairs_keep_the_order_and_the_window(parts: list[int], looks: list[int], window: int) -> None:
    """Even where triggers crowd, pairs do not cross, no look is given twice, none from beyond the window."""
    station = Station(name="side", at=0, window=window)
    at_parts, at_looks = places_of(enumerate(sorted(parts))), places_of(enumerate(sorted(looks)))
    found = [(p, look_of(p, at_parts, at_looks, station)) for p in range(len(parts))]
    taken = [look for _, look in found if look is not None]
    assert taken == sorted(set(taken))
    for part, look in found:
        near = [q for q in range(len(looks)) if abs(sorted(looks)[q] - sorted(parts)[part]) <= window]
        assert look is None or look in near
        # A look that no other part is near to, and a part that no other look is near to, belong together.
        if len(near) == 1 and sum(abs(sorted(looks)[near[0]] - place) <= window for place in parts) == 1:
            assert look == near[0]


@given(seed=SEEDS, entered_early=st.sampled_from([0, PITCH]))
@settings(max_examples=60, deadline=None)
def test_what_is_settled_does_not_change(seed: int, entered_early: int) -> None:
    """Once the belt has passed, a look's fate stays the same whatever comes afterwards, as after a restart."""
    line, rng = belt(seed, 2, 30, Rates(lost=0.1, doubled=0.5, spurious=0.5)), random.Random(seed)
    station, ends = line.stations[1], (line.places(0), line.places(1))
    for position in line.positions[1]:
        passed = position + rng.randint(0, WINDOW)
        now = [
            places_of((entry, p) for entry, p in enumerate(positions) if p <= passed + entered_early)
            for positions in line.positions
        ]
        for look in range(len(now[1])):
            fate = fate_of(look, now[0], now[1], station, decided=0, passed=passed)
            if fate != "open":
                assert fate_of(look, *ends, station, decided=0, passed=2**62) == fate
            if fate == "taken":
                part = part_of(look, now[0], now[1], station)
                assert part is not None
                assert look_of(part, *ends, station) == look


@pytest.mark.parametrize(
    ("looks", "fates"),
    [
        ([1010], ["taken"]),
        ([1101], ["stray"]),
        ([950, 1030], ["stray", "taken"]),
        ([1030, 1031], ["taken", "stray"]),
        ([NOWHERE, 1000], ["stray", "taken"]),
    ],
    ids=["near", "beyond the window", "the nearest of two", "doubled", "no position"],
)
def test_the_fate_of_a_look(looks: list[int], fates: list[str]) -> None:
    """A look belongs to the part whose place it is nearest to, within the window, or is a stray."""
    parts, at = places_of([(0, 0), (1, 1000)]), places_of(enumerate(looks))
    assert [fate_of(q, parts, at, SIDE, decided=0, passed=5000) for q in range(len(looks))] == fates


def test_a_look_that_comes_after_the_verdict_is_a_stray() -> None:
    """A part that has its verdict takes no look any more, and neither does its neighbour."""
    parts, looks = places_of([(0, 0), (1, 150)]), places_of([(0, 1070)])
    assert fate_of(0, parts, looks, SIDE, decided=1, passed=0) == "stray"
    assert fate_of(0, parts, looks, SIDE, decided=0, passed=0) == "open"
    assert look_of(1, parts, looks, SIDE) is None


def test_a_look_is_open_until_its_part_can_be_known() -> None:
    """A look that no part is near to is a stray only when each part of its place has been entered."""
    looks = places_of([(0, 5000)])
    assert fate_of(0, Places(), looks, SIDE, decided=0, passed=4099) == "open"
    assert fate_of(0, Places(), looks, SIDE, decided=0, passed=4100) == "stray"


def test_rows_are_forgotten() -> None:
    """What is forgotten is found no more, and what is kept is."""
    places = places_of([(0, 10), (1, NOWHERE), (2, 30)])
    places.forget(2)
    assert (places.nearest(10, 5), places.nearest(29, 1), len(places)) == (None, 2, 1)
    assert places.position(1) == places.position(0) == NOWHERE


def test_the_simulated_belt_has_room_for_its_windows() -> None:
    """The promise needs windows and jitter that are smaller than the distance of two boards: docs/belt.md."""
    assert 2 * (WINDOW + 2 * JITTER) < PITCH


@pytest.mark.parametrize(("at", "settled"), [(1000, 1100), (0, 200), (50, 200)], ids=["far", "beside", "near"])
def test_a_part_waits_until_its_window_has_passed(at: int, settled: int) -> None:
    """A nearer look may come until the last moment, and a part that is nearer to the look as well."""
    station = Station(name="side", at=at, window=100)
    parts, looks = places_of([(0, 0)]), places_of([(0, at)])
    assert fate_of(0, parts, looks, station, decided=0, passed=settled - 1) == "open"
    assert fate_of(0, parts, looks, station, decided=0, passed=settled) == "taken"
