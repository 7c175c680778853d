"""What the line publishes comes into the journal in order, once, and nothing else stops it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import pytest
from journals import RUN, alter, rows_in, verdict

from edge.errors import JournalError
from edge.journal.commands import Given, note, noted
from edge.journal.condition import Condition
from edge.journal.reading import verify
from edge.journal.store import journal_path
from edge.memory.ledger import ROWS, Ledger, Record
from edge.messages import Part
from edge.stages.journal import MOST_EVENTS, RETRY_NS, JournalWriter

OTHER = "1" * 16


class Line:
    """A ledger in which parts get verdicts, and the condition that its journal told last."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder / "journal"
        self.ledgers = {"top": Ledger.create(folder / "top.ledger")}
        self.condition = Condition()
        self.told: list[Condition] = []
        self.path = journal_path(self.folder, "caps")

    def enter(self) -> int:
        """Capture a part; its entry."""
        ledger = self.ledgers["top"]
        entry = ledger.captured
        said = verdict(entry + 1)
        ledger.enter(
            Part(
                entry=entry,
                epoch=7,
                sequence=entry + 1,
                camera="top",
                view="",
                source_ref="",
                skipped=0,
                captured_ns=said.captured_ns,
                captured_at_ns=1_796_040_000_000_000_000 + said.captured_ns,
                deadline_ns=said.deadline_ns,
                slot=-1,
                generation=0,
            )
        )
        return entry

    def publish(self, count: int) -> None:
        ledger = self.ledgers["top"]
        for _ in range(count):
            entry = self.enter()
            said = verdict(entry + 1)
            record = Record(
                topic=b"accept.caps",
                body=msgspec.json.encode(said),
                reason="clean",
                published_ns=said.published_ns,
                number=entry + 1,
            )
            ledger.record(entry, record)
            ledger.set_published(entry)

    def _tell(self, condition: Condition) -> None:
        self.condition = condition
        self.told.append(condition)

    def give(self, command: str) -> None:
        at = "2026-11-30T12:00:00.000000Z"
        note(self.folder.parent, Given(at=at, line="caps", command=command, keys={"by": "Ann\n"}))

    def writer(self, run: str = RUN, left: dict[str, dict[str, Ledger]] | None = None) -> JournalWriter:
        return JournalWriter(
            self.folder,
            "caps",
            run,
            {**(left or {}), run: self.ledgers},
            start=b'{"line":"caps"}',
            condition=self.condition,
            told=self._tell,
            commands=partial(noted, self.folder.parent),
        )

    def numbers(self, run: str = RUN) -> list[int]:
        return [row.number for row in rows_in(self.path) if row.kind == "verdict" and row.run == run]


def kill(writer: JournalWriter) -> None:
    """End a writer as the kernel would: its lock is free, and it writes nothing more."""
    assert writer._journal is not None
    writer._journal.close()


@pytest.fixture
def line(tmp_path: Path) -> Line:
    return Line(tmp_path)


def test_verdicts_and_events_are_written_in_order_with_their_times(line: Line) -> None:
    """An event stands behind the verdicts that were published before it; the times are those of publication."""
    writer = line.writer()
    writer.open()
    line.publish(3)
    writer.event("alarm.caps", b'{"line":"caps","alarm":"journal"}', 1_796_040_009_000_000_000)
    writer.step(1)
    line.publish(1)
    assert writer.close(b'{"line":"caps"}')
    rows = rows_in(line.path)
    assert [(row.kind, row.number) for row in rows] == [
        ("start", 0),
        ("verdict", 1),
        ("verdict", 2),
        ("verdict", 3),
        ("alarm", 3),
        ("verdict", 4),
        ("close", 4),
    ]
    assert rows[2].at == "2026-11-30T12:00:02.012000Z"
    assert rows[4].at == "2026-11-30T12:00:09.000000Z"
    assert line.condition == Condition(closed=True)


def test_the_end_of_a_killed_run_is_written_by_the_next(tmp_path: Path) -> None:
    """Once all of its verdicts are written, and not before: only so their end is known."""
    line, killed = Line(tmp_path), Line(tmp_path / "killed")
    killed.publish(2)
    writer = line.writer(left={OTHER: killed.ledgers})
    writer.open()
    killed.publish(1)
    line.publish(1)
    assert writer.close(b"{}")
    closes = [(row.run, row.number) for row in rows_in(line.path) if row.kind == "close"]
    assert closes == [(OTHER, 3), (RUN, 1)]
    killed.enter()
    writer = line.writer(left={OTHER: killed.ledgers})
    writer.open()
    assert not writer.close(b"{}")
    assert [row.run for row in rows_in(line.path) if row.kind == "close"] == [OTHER, RUN, RUN]


@pytest.mark.parametrize("body", [b"no JSON", b'{"a":\n1}', b"\xff", b""])
def test_what_is_no_event_is_refused_and_stops_nothing(line: Line, body: bytes) -> None:
    """Whatever is published under its topic."""
    writer = line.writer()
    writer.open()
    writer.event("alarm.caps", body, 0)
    writer.event("alarm.caps pass", b"{}", 0)
    writer.event("alarm.caps", b'{"good":1}', 0)
    line.publish(1)
    writer.step(1)
    writer.close(b"{}")
    assert [row.kind for row in rows_in(line.path)] == ["start", "verdict", "alarm", "close"]


def test_a_process_goes_on_where_the_one_before_was_killed(line: Line) -> None:
    """Also if the ledger no longer holds all: what it lost is a gap, and the count of the missing goes on."""
    writer = line.writer()
    writer.open()
    line.publish(10)
    writer.step(1)
    kill(writer)
    line.publish(ROWS + 5)
    writer = line.writer()
    writer.open()
    writer.step(1)
    assert writer.close(b"{}")
    assert line.numbers() == [*range(1, 11), *range(16, ROWS + 16)]
    found = verify(line.path)
    assert (found.faults, found.missing, line.condition.missing) == ([], 5, 5)
    assert [row.kind for row in rows_in(line.path) if row.kind != "verdict"] == [
        "start",
        "resume",
        "gap",
        "close",
    ]


def test_a_killed_runs_last_verdicts_go_on_from_its_own_numbers(line: Line, tmp_path: Path) -> None:
    """They are not counted as those of the run that publishes them."""
    writer = line.writer()
    writer.open()
    line.publish(3)
    writer.step(1)
    kill(writer)
    line.publish(2)
    left = {RUN: line.ledgers}
    line.ledgers = {"top": Ledger.create(tmp_path / "again.ledger")}
    writer = line.writer(OTHER, left)
    writer.open()
    line.publish(2)
    writer.step(1)
    assert writer.close(b"{}")
    assert (line.numbers(), line.numbers(OTHER)) == ([1, 2, 3, 4, 5], [1, 2])
    assert verify(line.path).faults == []


def broken(line: Line) -> Callable[[], None]:
    """Make each write fail; returns what mends it."""
    alter(line.path, "CREATE TRIGGER full BEFORE INSERT ON journal BEGIN SELECT RAISE(ABORT, 'full'); END")
    return lambda: alter(line.path, "DROP TRIGGER full")


def test_a_failure_is_told_and_what_the_ledger_held_is_written_afterwards(line: Line) -> None:
    """It is tried again after a second, not at each step; the reason stands in the gap."""
    writer = line.writer()
    writer.open()
    line.publish(3)
    mend = broken(line)
    writer.event("alarm.caps", b'{"kept":1}', 0)
    writer.step(1)
    assert "the disk is full" in line.condition.error
    line.publish(ROWS + 10)
    mend()
    writer.step(2)
    assert line.numbers() == []
    writer.step(1 + RETRY_NS)
    assert line.condition.error == ""
    writer.step(2 + RETRY_NS)
    assert writer.close(b"{}")
    assert line.numbers() == [1, 2, 3, *range(14, ROWS + 14)]
    found = verify(line.path)
    assert (found.faults, found.missing, line.condition.missing) == ([], 10, 10)
    assert "the disk is full" in found.gaps[0]
    assert [row.kind for row in rows_in(line.path)].count("alarm") == 1


def test_events_do_not_fill_the_memory(line: Line) -> None:
    """While the journal cannot be written, a limited number is kept."""
    writer = line.writer()
    writer.open()
    for number in range(MOST_EVENTS + 10):
        writer.event("alarm.caps", json.dumps({"number": number}).encode(), 0)
    writer.close(b"{}")
    assert [row.kind for row in rows_in(line.path)].count("alarm") == MOST_EVENTS


def test_a_file_damaged_while_it_is_written_is_put_aside_and_the_new_one_has_what_the_ledger_holds(
    line: Line,
) -> None:
    """The line is told; nothing of the last verdicts is missing in the new file."""
    writer = line.writer()
    writer.open()
    line.publish(200)
    assert writer.close(b"{}")
    writer = line.writer()
    writer.open()
    # What was read at the opening is in memory, so this is found when an index is written.
    with line.path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (line.path.stat().st_size - 4096))
    line.publish(5)
    writer.step(2)
    writer.step(3)
    assert writer.close(b"{}")
    assert Path(line.condition.aside).read_bytes()[4096:].startswith(b"\xff")
    kinds = [row.kind for row in rows_in(line.path)]
    assert kinds == ["begun", "start", *["verdict"] * 205, "close"]
    assert verify(line.path).faults == []


def test_commands_are_written_once_each_whatever_happens_to_the_journal(line: Line) -> None:
    """Those given while it could not be written, or was not there, follow when it is back."""
    writer = line.writer()
    writer.open()
    line.give("hold")
    writer.step(1)
    mend = broken(line)
    line.give("release")
    writer.step(2)
    kill(writer)
    mend()
    line.give("ack")
    writer = line.writer()
    writer.open()
    writer.step(1)
    assert writer.close(b"{}")
    bodies = [json.loads(row.body) for row in rows_in(line.path) if row.kind == "command"]
    assert [body["command"] for body in bodies] == ["hold", "release", "ack"]
    assert {body["keys"]["by"] for body in bodies} == {"Ann\n"}
    assert verify(line.path).faults == []


def test_an_alarm_that_is_sent_again_is_written_once(line: Line) -> None:
    """As when another subscriber comes; its next state is another message."""
    writer = line.writer()
    writer.open()
    for state in ("raised", "raised", "acknowledged", "raised"):
        writer.event("alarm.caps", json.dumps({"alarm": "focus", "state": state}).encode(), 0)
        writer.step(1)
    writer.close(b"{}")
    states = [json.loads(row.body)["state"] for row in rows_in(line.path) if row.kind == "alarm"]
    assert states == ["raised", "acknowledged"]


def test_a_journal_that_cannot_end_in_order_says_so(line: Line) -> None:
    """So the ledger is kept for the next start of the line."""
    writer = line.writer()
    writer.open()
    line.publish(3)
    mend = broken(line)
    assert not writer.close(b"{}")
    assert "full" in line.condition.error
    mend()
    writer = line.writer()
    writer.open()
    assert writer.close(b"{}")
    assert line.numbers() == [1, 2, 3]


def test_a_journal_that_could_not_be_opened_is_opened_later(line: Line) -> None:
    """The caller tells the failure, and the next steps try again."""
    line.folder.parent.joinpath("journal").write_text("in the way")
    writer = line.writer()
    with pytest.raises(JournalError) as told:
        writer.open()
    writer.fail(told.value, 0)
    line.publish(2)
    line.folder.unlink()
    writer.step(RETRY_NS)
    assert writer.close(b"{}")
    assert line.numbers() == [1, 2]
