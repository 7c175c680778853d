"""Where the belt is at each time, from samples that an encoder has reported."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from edge.belt.places import NOWHERE
from edge.belt.track import EXTRAPOLATE_NS, JUMP, NEVER, SAMPLES, STALE_NS, Track

MS = 1_000_000


@pytest.fixture
def track(tmp_path: Path) -> Track:
    return Track.create(tmp_path / "track")


def run(track: Track, *positions: int, from_ms: int = 0, every_ms: int = 10) -> int:
    """Write positions at a steady rate; returns the time of the last in nanoseconds."""
    for number, ticks in enumerate(positions):
        track.write((from_ms + number * every_ms) * MS, ticks, ticks)
    return (from_ms + (len(positions) - 1) * every_ms) * MS


def test_between_samples_the_belt_moves_steadily(track: Track) -> None:
    """A trigger between two samples lies between their positions, in proportion to the time."""
    run(track, 0, 100, 100, 40)
    assert [track.tick_at(ms * MS) for ms in (0, 3, 10, 15, 25, 30)] == [0, 30, 100, 100, 70, 40]


def test_a_trigger_just_after_the_last_sample_gets_a_position(track: Track) -> None:
    """The trigger of a moment ago need not wait for the next sample: the present speed tells."""
    end = run(track, 0, 100, 200)
    assert track.tick_at(end + 5 * MS) == 250
    assert track.tick_at(end + EXTRAPOLATE_NS + 1) == NOWHERE


def test_where_nothing_was_reported_no_position_is_invented(track: Track) -> None:
    """Before the first sample, and in a pause of the encoder, a trigger has no position."""
    assert track.tick_at(0) == NOWHERE
    run(track, 0, 10, from_ms=100)
    run(track, 1000, 1010, from_ms=400)
    assert track.tick_at(99 * MS) == NOWHERE
    assert track.tick_at(250 * MS) == NOWHERE
    assert track.tick_at(405 * MS) == 1005


def test_a_position_is_expected_at_the_present_speed(track: Track) -> None:
    """The time to the ejector follows the speed of the last moments, not that of before."""
    end = run(track, *range(0, 2000, 100))
    assert track.ns_at(2900, end) == end + 100 * MS
    end = run(track, *range(1950, 3000, 50), from_ms=200)
    assert track.ns_at(3000 + 450, end) == end + 100 * MS


@pytest.mark.parametrize(
    ("positions", "stands"),
    [([500] * 20, True), (list(range(500, 300, -10)), True), (list(range(500, 700, 10)), False)],
    ids=["stopped", "reversed", "running"],
)
def test_a_belt_that_does_not_run_reaches_nothing(track: Track, positions: list[int], stands: bool) -> None:
    """A stopped belt postpones what lies ahead, one that reverses takes it back."""
    end = run(track, *positions)
    assert track.stands is stands
    assert (track.ns_at(1000, end) == NEVER) is stands
    assert track.ns_at(min(positions), end) <= end


def test_an_encoder_that_says_nothing_has_failed(track: Track) -> None:
    """Silence is noticed, and a standing belt is not silence."""
    assert not track.is_fresh(0)
    end = run(track, 5, 5, 5)
    assert track.is_fresh(end + STALE_NS)
    assert not track.is_fresh(end + STALE_NS + 1)


def test_the_last_sample_outlives_its_writer(track: Track, tmp_path: Path) -> None:
    """A restarted encoder process finds where the belt was, and what the encoder counted then."""
    track.write(1, 70_000, 4_464)
    assert Track.open(tmp_path / "track").last == (1, 70_000, 4_464)
    track.write(1, 80_000, 0)
    assert track.last == (1, 70_000, 4_464)


def test_a_lost_count_leaves_no_position_in_between(track: Track) -> None:
    """After the encoder was reset, nothing is interpolated between the old positions and the new ones."""
    run(track, 0, 10, 20 + JUMP, 30 + JUMP)
    assert track.tick_at(15 * MS) == NOWHERE
    assert track.tick_at(25 * MS) == 25 + JUMP
    assert track.ns_at(100, 30 * MS) <= 30 * MS


def test_old_samples_are_overwritten(track: Track) -> None:
    """The memory does not grow; what was long ago has no position any more."""
    end = run(track, *range(3 * SAMPLES), every_ms=1)
    assert track.tick_at(end - 100 * MS) == 3 * SAMPLES - 101
    assert track.tick_at(0) == NOWHERE


def test_a_reader_never_sees_half_a_sample(track: Track, tmp_path: Path) -> None:
    """While samples are written as fast as possible, each position that is read fits its time."""
    done = threading.Event()

    def write() -> None:
        for ms in range(20_000):
            track.write(ms * MS, 7 * ms, 0)
        done.set()

    writer, reader = threading.Thread(target=write), Track.open(tmp_path / "track")
    writer.start()
    reads = 0
    while not done.is_set() or reads < 100:
        if (last := reader.last) is not None and (found := reader.tick_at(last[0])) != NOWHERE:
            assert found == 7 * (last[0] // MS)
            reads += 1
    writer.join()
