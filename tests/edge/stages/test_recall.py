"""What a subscriber gets of a line's verdicts, from memory and from the journal together."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec
import pytest
from journals import alter, entries, entry

from edge.journal.store import Journal, journal_path
from edge.stages.kept import ANSWER_BYTES, Kept
from edge.stages.recall import RETRY_NS, Recall

OLD, NOW, NEXT = "0" * 15 + "1", "0" * 15 + "2", "0" * 15 + "3"


def remembered(numbers: range, most: int = 1000, run: str = NOW) -> Kept:
    """What memory has of verdicts that the line has published."""
    kept = Kept(most)
    kept.begin(run)
    for each in entries(numbers, run):
        kept.add(run, each.number, each.topic.encode(), each.body, each.number)
    return kept


def written(folder: Path, *runs: tuple[str, range], closed: bool = True) -> Path:
    """A journal of these runs; the last one goes on, and the others were stopped in order if `closed`."""
    with Journal(folder, "caps") as journal:
        for run, numbers in runs:
            journal.event("start", run, b"{}")
            journal.write(entries(numbers, run))
            if closed and (run, numbers) != runs[-1]:
                journal.event("close", run, b"{}")
    return journal_path(folder, "caps")


def asked(recall: Recall, run: str, first: int, last: int | None = None) -> tuple[list[int], str]:
    """Ask until a run's end, as a subscriber does: all numbers that came, and how the answers ended."""
    got: list[int] = []
    while True:
        found = recall.find(run, first, last, RETRY_NS)
        if found is None:
            return got, "unknown run"
        if not found.known:
            return got, f"unknown from {first}, then {found.then}"
        assert sum(len(topic) + len(body) for topic, body in found.verdicts) <= ANSWER_BYTES
        got += [msgspec.json.decode(body)["sequence"] for _, body in found.verdicts]
        if found.ended:
            return got, f"ended at {found.upto}, then {found.then}"
        if found.upto < first or found.upto == last:
            return got, f"upto {found.upto}"
        first = found.upto + 1


def test_memory_and_journal_join_without_a_gap_or_a_double(tmp_path: Path) -> None:
    """Memory has the newest, which the journal may lack; the journal has what memory has forgotten."""
    path = written(tmp_path, (NOW, range(1, 191)))
    recall = Recall(remembered(range(1, 201), most=50), path)
    for first in (1, 149, 150, 151, 152, 190, 200):
        assert asked(recall, NOW, first) == (list(range(first, 201)), "upto 200")
    assert asked(recall, NOW, 140, 160) == (list(range(140, 161)), "upto 160")
    assert asked(recall, NOW, 3, 5) == ([3, 4, 5], "upto 5")


def test_what_memory_was_too_slow_to_read_is_in_the_journal(tmp_path: Path) -> None:
    """A gap between two verdicts in memory is filled."""
    kept = remembered(range(1, 4))
    for each in entries([8, 9], NOW):
        kept.add(NOW, each.number, each.topic.encode(), each.body, 0)
    recall = Recall(kept, written(tmp_path, (NOW, range(1, 10))))
    assert asked(recall, NOW, 2) == (list(range(2, 10)), "upto 9")


def test_a_run_that_was_stopped_in_order_is_given_to_its_end(tmp_path: Path) -> None:
    """And then the run that followed, over as many runs as there were."""
    path = written(tmp_path, (OLD, range(1, 101)), (NOW, range(1, 4)), (NEXT, range(1, 3)))
    recall = Recall(remembered(range(1, 3), run=NEXT), path)
    assert asked(recall, OLD, 42) == (list(range(42, 101)), f"ended at 100, then {NOW}")
    assert asked(recall, NOW, 1) == ([1, 2, 3], f"ended at 3, then {NEXT}")
    assert asked(recall, NEXT, 1) == ([1, 2], "upto 2")


def test_a_subscriber_that_heard_the_last_verdict_goes_on_with_the_next_run(tmp_path: Path) -> None:
    """Nothing is lost between two runs, also if the journal lacks the start of the one that goes on."""
    path = written(tmp_path, (OLD, range(1, 4)), (NOW, range(0)))
    assert asked(Recall(remembered(range(0)), path), OLD, 4) == ([], f"ended at 3, then {NOW}")
    alter(path, "DELETE FROM journal WHERE run = ?", NOW)
    assert asked(Recall(remembered(range(0)), path), OLD, 4) == ([], f"ended at 3, then {NOW}")


def test_a_run_that_did_not_end_in_order_has_no_known_end(tmp_path: Path) -> None:
    """After a power cut, nobody knows which verdicts came after those that were written."""
    path = written(tmp_path, (OLD, range(1, 31)), (NOW, range(1, 2)), closed=False)
    recall = Recall(remembered(range(1, 2)), path)
    assert asked(recall, OLD, 1) == (list(range(1, 31)), f"unknown from 31, then {NOW}")


def test_memory_knows_whether_a_killed_run_has_ended(tmp_path: Path) -> None:
    """Its last verdicts may still be made, so the journal does not end it."""
    kept = remembered(range(1, 31), most=10, run=OLD)
    kept.begin(NOW)
    recall = Recall(kept, written(tmp_path, (OLD, range(1, 25)), (NOW, range(0)), closed=False))
    assert asked(recall, OLD, 1) == (list(range(1, 31)), "upto 30")
    kept.end(OLD)
    assert asked(recall, OLD, 1) == (list(range(1, 31)), f"ended at 30, then {NOW}")
    assert asked(recall, OLD, 31) == ([], f"ended at 30, then {NOW}")


def test_a_run_whose_last_verdicts_memory_has_forgotten_ends(tmp_path: Path) -> None:
    """The journal has them."""
    kept = remembered(range(1, 5), most=2, run=OLD)
    kept.end(OLD)
    kept.begin(NOW)
    for each in entries([1, 2], NOW):
        kept.add(NOW, each.number, each.topic.encode(), each.body, 0)
    recall = Recall(kept, written(tmp_path, (OLD, range(1, 5)), (NOW, range(0))))
    assert asked(recall, OLD, 2) == ([2, 3, 4], f"ended at 4, then {NOW}")


def test_what_neither_has_is_passed_over(tmp_path: Path) -> None:
    """A subscriber reports it as lost, and gets the rest."""
    with Journal(tmp_path, "caps") as journal:
        journal.event("start", NOW, b"{}")
        journal.write(entries([1, 2, 8, 9, 10], NOW), "the disk was full")
    recall = Recall(remembered(range(1, 21), most=6), journal.path)
    assert asked(recall, NOW, 1) == ([1, 2, 8, 9, 10, *range(15, 21)], "upto 20")
    assert asked(recall, NOW, 3, 7) == ([], "upto 7")


@pytest.mark.parametrize("run", ["", "-", "nobody", "A" * 16, "\x00" * 16, "f" * 16, "f" * 900])
def test_what_is_no_run_is_unknown(tmp_path: Path, run: str) -> None:
    """Also the word that the journal has for no run."""
    with Journal(tmp_path, "caps") as journal:
        journal.event("begun", "-", b"{}")
        journal.event("start", NOW, b"{}")
    assert asked(Recall(remembered(range(1, 3)), journal.path), run, 1) == ([], "unknown run")


def test_without_a_journal_memory_answers() -> None:
    """As for a line whose recipe has none."""
    recall = Recall(remembered(range(1, 21), most=5), None)
    assert asked(recall, NOW, 1) == (list(range(16, 21)), "upto 20")
    assert asked(recall, OLD, 1) == ([], "unknown run")


def test_without_a_readable_journal_memory_answers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A warning comes once, and the file is left alone for a while, so that nobody waits for a bad disk."""
    path = written(tmp_path, (OLD, range(1, 4)), (NOW, range(1, 21)))
    good = path.read_bytes()
    path.write_bytes(good[:4096] + b"\xa5" * (len(good) - 4096))
    recall = Recall(remembered(range(1, 21), most=5), path)
    with caplog.at_level(logging.WARNING):
        for now_ns in (RETRY_NS, 3 * RETRY_NS):
            found = recall.find(NOW, 1, None, now_ns)
            assert found is not None
            assert (found.upto, len(found.verdicts)) == (20, 5)
            assert recall.find(OLD, 1, None, now_ns) is None
    assert len(caplog.messages) == 1
    path.write_bytes(good)
    assert recall.find(OLD, 1, None, 4 * RETRY_NS - 1) is None
    found = recall.find(OLD, 1, None, 4 * RETRY_NS)
    assert found is not None
    assert len(found.verdicts) == 3
    path.unlink()
    with caplog.at_level(logging.WARNING):
        assert recall.find(OLD, 1, None, 5 * RETRY_NS) is None
    assert len(caplog.messages) == 2


def test_an_altered_row_is_lost_and_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever altered it cannot make a subscriber take it for a verdict of the line."""
    path = written(tmp_path, (OLD, range(1, 6)), (NOW, range(0)))
    body = entry(3, OLD, "reject").body.decode()
    alter(path, "UPDATE journal SET body = ? WHERE run = ? AND number = 3 AND kind = 'verdict'", body, OLD)
    recall = Recall(remembered(range(0)), path)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert asked(recall, OLD, 1) == ([1, 2, 4, 5], f"ended at 5, then {NOW}")
    assert len(caplog.messages) == 1
