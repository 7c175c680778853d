"""Which files are deleted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.recorder.retention import Limits, Stored, surplus

LIMITS = Limits(nbytes=100, age_ns=30, sample_age_ns=7)


def stored(name: str, at_ns: int, nbytes: int = 10) -> Stored:
    return Stored(path=name, nbytes=nbytes, at_ns=at_ns, is_sample=name.startswith("pass"))


def names(gone: list[Stored]) -> list[str]:
    return [one.path for one in gone]


def test_what_is_too_old_is_deleted() -> None:
    """A rejected part's picture is kept for its time, and that of a passed part for a shorter time."""
    files = [stored("reject-1", 0), stored("reject-2", 70), stored("pass-1", 92), stored("pass-2", 93)]
    assert names(surplus(files, LIMITS, 100)) == ["reject-1", "pass-1"]


def test_if_space_is_short_passed_parts_go_first_and_then_the_oldest() -> None:
    """Old pictures of rejected parts outlive new ones of passed parts."""
    files = [stored(f"reject-{i}", i) for i in range(9, 0, -1)] + [stored("pass-1", 12), stored("pass-2", 11)]
    assert names(surplus(files, LIMITS, 13)) == ["pass-2", "pass-1"]
    more = [*files, stored("reject-10", 12, 30)]
    assert names(surplus(more, LIMITS, 13)) == ["pass-2", "pass-1", "reject-1", "reject-2", "reject-3"]


def test_nothing_is_deleted_without_need() -> None:
    """Files within all limits stay, up to the last byte and nanosecond."""
    assert surplus([stored(f"reject-{i}", 0) for i in range(10)], LIMITS, 30) == []


@given(
    st.lists(st.tuples(st.integers(0, 100), st.integers(0, 60), st.booleans()), max_size=30),
    st.integers(0, 120),
)
def test_what_is_left_keeps_all_limits(files: list[tuple[int, int, bool]], now_ns: int) -> None:
    """Whatever files there are: those left are small enough together, none is too old, and no newer one of the
    same kind was deleted for space while an older one was left.
    """
    known = [
        Stored(path=str(i), nbytes=nbytes, at_ns=at_ns, is_sample=sample)
        for i, (nbytes, at_ns, sample) in enumerate(files)
    ]
    gone = surplus(known, LIMITS, now_ns)
    left = [one for one in known if one not in gone]
    assert len({one.path for one in gone}) == len(gone)
    assert sum(one.nbytes for one in left) <= LIMITS.nbytes
    ages = {True: LIMITS.sample_age_ns, False: LIMITS.age_ns}
    assert all(now_ns - one.at_ns <= ages[one.is_sample] for one in left)
    for one in gone:
        if now_ns - one.at_ns <= ages[one.is_sample]:
            assert all(other.at_ns >= one.at_ns for other in left if other.is_sample == one.is_sample)
            assert one.is_sample or not any(other.is_sample for other in left)
