"""What a line keeps of its last verdicts, for subscribers that missed them."""

from __future__ import annotations

from edge.stages.kept import ANSWER_BYTES, Found, Kept


def kept(numbers: range, run: str = "a", most: int = 1000, most_bytes: int = 10**6) -> Kept:
    made = Kept(most, most_bytes)
    made.begin(run)
    for number in numbers:
        made.add(run, number, b"accept.x", str(number).encode(), 0)
    return made


def bodies(found: Found | None) -> list[int]:
    assert found is not None
    return [int(body) for _, body in found.verdicts]


def test_a_range_is_found() -> None:
    """As it was published, in order; one without an end goes to the newest verdict."""
    found = kept(range(1, 10)).find("a", 3, 5)
    assert found == Found(
        upto=5, verdicts=((b"accept.x", b"3"), (b"accept.x", b"4"), (b"accept.x", b"5")), ended=False, then=""
    )
    assert bodies(kept(range(1, 10)).find("a", 7, None)) == [7, 8, 9]


def test_what_is_not_published_yet_is_not_lost() -> None:
    """The answer ends before it, and the subscriber asks again."""
    found = kept(range(1, 10)).find("a", 8, 20)
    assert found is not None
    assert (found.upto, bodies(found)) == (9, [8, 9])
    found = kept(range(1, 10)).find("a", 10, 20)
    assert found is not None
    assert (found.upto, found.verdicts) == (9, ())


def test_memory_is_bounded_in_verdicts_and_in_bytes() -> None:
    """The oldest are forgotten, and an answer goes past them."""
    for made in (kept(range(1, 100), most=10), kept(range(10, 100), most_bytes=100)):
        found = made.find("a", 1, 95)
        assert found is not None
        assert (found.upto, bodies(found)) == (95, [90, 91, 92, 93, 94, 95])


def test_the_oldest_run_is_forgotten_first() -> None:
    """Its number of verdicts is still known, so that a subscriber learns how many it missed."""
    made = kept(range(1, 6), most=6)
    made.end("a")
    made.begin("b")
    for number in range(1, 6):
        made.add("b", number, b"accept.x", b"%d" % number, 0)
    assert made.find("a", 1, None) == Found(upto=5, verdicts=((b"accept.x", b"5"),), ended=True, then="b")
    made.add("b", 6, b"accept.x", b"6", 0)
    assert made.find("a", 1, None) == Found(upto=5, verdicts=(), ended=True, then="b")
    assert bodies(made.find("b", 1, None)) == [1, 2, 3, 4, 5, 6]


def test_an_answer_is_bounded() -> None:
    """A long range takes several, of which each says where the next one begins."""
    made, first, answers = Kept(), 1, 0
    made.begin("a")
    for number in range(1, 101):
        made.add("a", number, b"", bytes(2000), 0)
    while first <= 100:
        found = made.find("a", first, 100)
        assert found is not None
        assert sum(len(body) for _, body in found.verdicts) <= ANSWER_BYTES
        assert len(found.verdicts) == found.upto - first + 1
        first, answers = found.upto + 1, answers + 1
    assert answers == -(-100 // (ANSWER_BYTES // 2000))


def test_a_verdict_larger_than_an_answer_is_an_answer() -> None:
    """Or a subscriber would ask for it for ever."""
    made = Kept()
    made.begin("a")
    made.add("a", 1, b"", bytes(2 * ANSWER_BYTES), 0)
    made.add("a", 2, b"", b"2", 0)
    found = made.find("a", 1, 2)
    assert found is not None
    assert (found.upto, len(found.verdicts)) == (1, 1)


def test_a_gap_in_what_was_kept_is_passed_over() -> None:
    """Of verdicts whose rows were used again before they were read."""
    made = kept(range(1, 3))
    made.add("a", 7, b"accept.x", b"7", 0)
    found = made.find("a", 2, 7)
    assert found is not None
    assert (found.upto, bodies(found)) == (7, [2, 7])


def test_only_a_run_that_has_ended_ends() -> None:
    """And only once its last verdict is in the answer."""
    made = Kept()
    made.begin("a")
    for number in (1, 2):
        made.add("a", number, b"", bytes(ANSWER_BYTES), 0)
    made.begin("b")
    for found, ended in ((made.find("a", 1, None), False), (made.find("a", 2, None), False)):
        assert found is not None
        assert (found.ended, found.then) == (ended, "")
    made.end("a")
    found = made.find("a", 1, None)
    assert found is not None
    assert (found.upto, found.ended) == (1, False)
    found = made.find("a", 2, None)
    assert found is not None
    assert (found.upto, found.ended, found.then) == (2, True, "b")


def test_absurd_ranges_cost_nothing() -> None:
    """What a hostile peer may ask for: it is answered without a loop over it."""
    made = kept(range(1, 10))
    assert made.find("z", 1, None) is None
    for first, last, found in ((-(10**18), 10**18, 9), (10**18, None, 0), (5, 3, 0), (-5, -3, 0)):
        assert len(bodies(made.find("a", first, last))) == found
