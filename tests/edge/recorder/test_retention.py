"""Which files are deleted."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.recorder.names import Kind
from edge.recorder.retention import Group, Limits, Stored, oldest, surplus

LIMITS = Limits(nbytes=100, days=30, sample_days=7)
TODAY = date(2026, 3, 31)


def group(ago: int, kind: Kind = "other") -> Group:
    """The files of a day so many days before today."""
    return Group(day=date.fromordinal(TODAY.toordinal() - ago).isoformat(), kind=kind)


def cuts(groups: dict[Group, int], limits: Limits = LIMITS) -> list[tuple[Group, int | None]]:
    return [(cut.group, cut.nbytes) for cut in surplus(groups, limits, TODAY.isoformat())]


def test_what_is_too_old_is_deleted() -> None:
    """A rejected part's picture is kept for its days, and that of a passed part for fewer."""
    groups = {group(ago, kind): 1 for ago in (0, 7, 8, 30, 31) for kind in ("sample", "other")}
    assert dict(cuts(groups)) == {
        group(31): None,
        group(31, "sample"): None,
        group(30, "sample"): None,
        group(8, "sample"): None,
    }


def test_if_space_is_short_passed_parts_go_first_and_then_the_oldest() -> None:
    """Old pictures of rejected parts outlive new ones of passed parts, and no more goes than is needed."""
    groups = {group(0): 50, group(3): 40, group(1, "sample"): 10, group(0, "sample"): 20}
    assert cuts(groups) == [(group(1, "sample"), None), (group(0, "sample"), 15)]
    assert cuts(groups | {group(2): 30}) == [
        (group(1, "sample"), None),
        (group(0, "sample"), None),
        (group(3), 25),
    ]


def test_a_day_that_is_larger_than_the_limit_is_cut() -> None:
    """On a busy day, the oldest of the day go."""
    assert cuts({group(0): 250}) == [(group(0), 155)]


def test_nothing_is_deleted_without_need() -> None:
    """Files within all limits stay, up to the last byte and day."""
    assert cuts({group(30): 50, group(7, "sample"): 50}) == []
    first = group(TODAY.toordinal() - 1)
    assert cuts({first: 100}, Limits(nbytes=100, days=10**9, sample_days=10**9)) == []


def test_a_day_that_is_not_yet_goes_before_known_ones() -> None:
    """A clock that was wrong for a while costs no picture of a known day while it is short of space."""
    assert cuts({group(-400): 60, group(0): 60, group(2): 40}) == [(group(-400), None), (group(2), 5)]
    assert cuts({group(-1): 60, group(0): 60}) == [(group(0), 25)], "tomorrow may be today on another clock"


KINDS = st.sampled_from(["sample", "other"])


@given(
    st.dictionaries(st.builds(group, st.integers(-3, 60), KINDS), st.integers(0, 60), max_size=30),
    st.integers(1, 40),
)
def test_what_is_left_keeps_all_limits(groups: dict[Group, int], sample_days: int) -> None:
    """Whatever files there are: those left are small enough together, none is too old, and no newer day of the
    same kind was deleted for space while an older one was left.
    """
    limits = Limits(nbytes=100, days=30, sample_days=sample_days)
    found = cuts(groups, limits)
    left = groups | {one: groups[one] - (groups[one] if n is None else n) for one, n in found}
    assert len(dict(found)) == len(found)
    assert sum(left.values()) <= limits.nbytes
    days = {"other": 30, "sample": sample_days}
    ago = {one: TODAY.toordinal() - date.fromisoformat(one.day).toordinal() for one in groups}
    too_old = {one for one in groups if ago[one] > days[one.kind]}
    assert all(left[one] == 0 for one in too_old)
    for gone, _ in found:
        if gone in too_old or ago[gone] < -1:
            continue
        older = [one for one in groups if one.kind == gone.kind and ago[one] > ago[gone]]
        assert not any(left[one] for one in older)
        assert gone.kind == "sample" or not any(left[one] for one in groups if one.kind == "sample")


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 60)), max_size=30), st.integers(1, 300))
def test_the_oldest_files_of_a_day_are_found(files: list[tuple[int, int]], nbytes: int) -> None:
    """In whatever order the disk lists them: as many as are needed, oldest first, none newer than one left."""
    known = [Stored(name=str(i), nbytes=n, at_ns=at_ns) for i, (n, at_ns) in enumerate(files)]
    gone = oldest(iter(known), nbytes)
    left = [one for one in known if one not in gone]
    assert sum(one.nbytes for one in gone) >= min(nbytes, sum(one.nbytes for one in known))
    assert all(one.at_ns <= other.at_ns for one in gone for other in left)
    assert gone == sorted(gone, key=lambda one: one.at_ns)
    newest = max((one.nbytes for one in gone if one.at_ns == gone[-1].at_ns), default=0)
    assert not left or sum(one.nbytes for one in gone) - newest < nbytes


@pytest.mark.parametrize("nbytes", [1, 10, 10_000])
def test_of_many_files_few_are_held(nbytes: int) -> None:
    """A day of many files is not held in memory: only what is deleted."""
    held = oldest((Stored(name=str(at), nbytes=1, at_ns=-at) for at in range(20_000)), nbytes)
    assert [one.at_ns for one in held] == list(range(-19_999, -19_999 + nbytes))
