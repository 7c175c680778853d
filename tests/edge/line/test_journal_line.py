"""A line's journal holds each verdict that its subscribers heard, whatever is killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from belt_lines import belt_recipe
from journals import rows_in
from lines import PATIENCE_S, RunningLine, Subscriber, is_running, judged, line_name, running, stop, until

from edge.journal.chain import Row
from edge.journal.condition import condition_in
from edge.journal.reading import verify
from edge.journal.store import journal_path
from edge.wire import resent_body

JOURNAL = "[journal]\n"


def journal_of(recipe: Path) -> Path:
    return journal_path(recipe.parent / "state" / "linejudge" / "journal", line_name(recipe.parent))


def numbers(rows: list[Row], run: str) -> list[int]:
    return [row.number for row in rows if row.kind == "verdict" and row.run == run]


class Ear(Subscriber):
    """A subscriber that can tell the exact bodies of the verdicts that it heard first."""

    def first(self) -> dict[tuple[str, int], tuple[str, bytes]]:
        """Topic and body by run and number."""
        found: dict[tuple[str, int], tuple[str, bytes]] = {}
        for topic, verdict in self.verdicts:
            body = msgspec.json.encode(verdict)
            found.setdefault((verdict.run, verdict.number), (topic, body))
        return found


def held(path: Path) -> dict[tuple[str, int], tuple[str, bytes]]:
    return {(row.run, row.number): (row.topic, row.body) for row in rows_in(path) if row.kind == "verdict"}


def until_all_is_heard(ear: Ear, path: Path) -> None:
    """Wait until each verdict in a journal has been heard."""
    until(lambda: held(path).keys() <= ear.first().keys(), "the last verdict is heard")


def same(heard: tuple[str, bytes], written: tuple[str, bytes]) -> bool:
    """Whether a verdict is written as it was heard; one that was only heard again says that it was."""
    return heard in (written, (written[0], resent_body(written[1])))


def test_the_journal_holds_what_was_heard(endless: Callable[..., Path]) -> None:
    """Each verdict once, byte for byte, in order, from the first to the last, between a start and a close."""
    recipe = endless(JOURNAL, fps=60)
    with Ear(recipe.parent) as ear, running(recipe) as line:
        until(lambda: len(ear.verdicts) > 60, "verdicts", line)
        run = ear.verdicts[-1][1].run
        stop(line)
        path = journal_of(recipe)
        until_all_is_heard(ear, path)
    assert verify(path).faults == []
    rows, heard = rows_in(path), ear.first()
    assert numbers(rows, run) == list(range(1, len(heard) + 1))
    assert held(path) == heard
    assert (rows[0].kind, rows[-1].kind) == ("start", "close")
    assert json.loads(rows[0].body)["recipe"] == ear.verdicts[0][1].recipe


def test_a_journal_killed_again_and_again_misses_nothing(endless: Callable[..., Path]) -> None:
    """The next process writes what the ledger still holds, each verdict once.

    The last kill is right before the line is stopped.
    """
    recipe = endless(JOURNAL, fps=60)
    rng = random.Random(1)
    with Ear(recipe.parent) as ear, running(recipe) as line:
        for _ in range(4):
            before = len(ear.verdicts)
            until(lambda: len(ear.verdicts) > before + 10, "verdicts", line)  # noqa: B023
            time.sleep(rng.uniform(0, 0.1))
            line.kill("journal")
        stop(line)
        path = journal_of(recipe)
        until_all_is_heard(ear, path)
    found = verify(path)
    assert (found.faults, found.missing) == ([], 0)
    assert held(path) == ear.first()
    kinds = [row.kind for row in rows_in(path)]
    assert kinds.count("resume") >= 1
    assert kinds[-1] == "close"


def is_busy(line: RunningLine) -> bool:
    """Whether this line, and not the one before, has published some verdicts."""
    return (line.folder / "pid").read_text() == str(line.process.pid) and line.ledger().published > 30


def kill_all(line: RunningLine) -> None:
    """Kill all processes of a line at once, as a machine that loses its power does."""
    stages = line.stages()
    pids = [line.process.pid, *(int(stages[name]["pid"][0]) for name in stages)]
    assert all(pids)  # 0 would be this process and all of its group
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_a_line_killed_at_once_and_started_again_misses_nothing(endless: Callable[..., Path]) -> None:
    """Its last verdicts are in memory that outlasts processes; they belong to the run that was killed."""
    recipe = endless(JOURNAL, fps=60)
    with Ear(recipe.parent) as ear:
        for _ in range(2):
            with running(recipe) as line:
                until(lambda: is_busy(line), "verdicts", line)
                kill_all(line)
        with running(recipe) as line:
            until(lambda: is_busy(line), "verdicts", line)
            stop(line)
    path = journal_of(recipe)
    found = verify(path)
    assert (found.faults, found.missing) == ([], 0)
    heard, written = ear.first(), held(path)
    assert [place for place in heard if not same(heard[place], written[place])] == []
    assert len({run for run, _ in written}) == 3


def test_a_power_cut_loses_only_the_last_verdicts(endless: Callable[..., Path]) -> None:
    """As after a power cut, the memory of the killed line is gone; the journal on the disk is what is left."""
    recipe = endless(JOURNAL, fps=60)
    with Ear(recipe.parent) as ear, running(recipe) as line:
        until(lambda: len(held(journal_of(recipe))) > 30, "verdicts are written", line)
        time.sleep(random.Random(2).uniform(0, 0.2))
        before = held(journal_of(recipe))
        kill_all(line)
        until(lambda: line.process.poll() is not None, "the line is dead")
    found = verify(journal_of(recipe))
    assert (found.faults, found.missing) == ([], 0)
    written = held(journal_of(recipe))
    lost = [verdict for _, verdict in ear.verdicts if (verdict.run, verdict.number) not in written]
    # How much that is where the disk is not busy, benchmarks/journal.py measures.
    assert before.items() <= written.items()
    assert len(written) > 30
    assert all(verdict.number > len(written) for verdict in lost)


def test_a_supervisor_that_is_killed_takes_nothing_from_the_journal(endless: Callable[..., Path]) -> None:
    """The journal ends after publish, and has the verdicts that publish still sent."""
    recipe = endless(JOURNAL, fps=60)
    with Ear(recipe.parent) as ear, running(recipe) as line:
        until(lambda: len(ear.verdicts) > 30, "verdicts", line)
        pid, ledger = line.pid("journal"), line.ledger()
        os.kill(line.process.pid, signal.SIGKILL)
        until(lambda: not is_running(pid), "the journal has ended")
        until(lambda: len(ear.first()) == ledger.captured, "all is heard")
    path = journal_of(recipe)
    assert verify(path).faults == []
    assert held(path) == ear.first()
    assert rows_in(path)[-1].kind == "close"


def test_a_line_with_several_cameras_has_one_journal(
    tmp_path: Path, constant_bundle: Callable[..., Path]
) -> None:
    """The verdicts of all its ledgers stand in the order of their numbers, those of stray looks too."""
    more = f"{JOURNAL}[ejector]\nat = 700\nlead_ms = 20"
    recipe = belt_recipe(tmp_path, constant_bundle(), parts=30, fault=0.05, more=more)
    with Ear(tmp_path) as ear, running(recipe) as line:
        status, said = line.wait()
        assert status == 0, said
        path = journal_of(recipe)
        until_all_is_heard(ear, path)
    heard = ear.first()
    found = verify(path)
    assert (found.faults, found.missing) == ([], 0)
    assert held(path) == heard
    assert [row.number for row in rows_in(path) if row.kind == "verdict"] == list(range(1, len(heard) + 1))
    assert len({verdict.camera for _, verdict in ear.verdicts}) > 1


def test_alarms_and_what_people_did_are_in_the_journal(endless: Callable[..., Path]) -> None:
    """Who held and released the line, which alarm was raised, and who acknowledged it."""
    recipe = endless(f"{JOURNAL}[alarms]\nconsecutive = 5\nreject_rate = 0.999\n", fps=30, score=0.9)
    with Subscriber(recipe.parent) as subscriber, running(recipe) as line:
        until(lambda: subscriber.alarms, "an alarm", line)
        name = line_name(recipe.parent)
        for command in (
            ("ack", "consecutive", "--by", "Ann"),
            ("hold", "--why", "no caps", "--by", "Ben"),
            ("release",),
        ):
            words = [sys.executable, "-m", "edge", "ctl", "--line", name, *command]
            done = subprocess.run(words, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        stop(line)
    rows = rows_in(journal_of(recipe))
    commands = [json.loads(row.body) for row in rows if row.kind == "command"]
    assert [(each["command"], each["keys"].get("by")) for each in commands][:2] == [
        ("ack", "Ann"),
        ("hold", "Ben"),
    ]
    assert commands[2]["command"] == "release"
    alarms = [json.loads(row.body) for row in rows if row.kind == "alarm"]
    states = [(alarm["alarm"], alarm["state"]) for alarm in alarms]
    assert states[:2] == [("consecutive", "raised"), ("consecutive", "acknowledged")]


def fill(file: Path) -> None:
    with file.open("ab") as to:
        try:
            while True:
                os.write(to.fileno(), bytes(1024))
        except OSError:
            pass


def test_a_full_disk_stops_the_journal_and_no_verdict(endless: Callable[..., Path], small_disk: Path) -> None:
    """The line tells it; when there is room again, what the ledger still holds is written."""
    recipe = endless(f'[journal]\nfolder = "{small_disk}"\n', fps=60)
    path = journal_path(small_disk, line_name(recipe.parent))
    with Ear(recipe.parent) as ear, running(recipe) as line:
        until(lambda: len(ear.verdicts) > 20, "verdicts", line)
        fill(small_disk / "other")
        until(lambda: "the disk is full" in condition_in(line.run).error, "the journal's error", line)
        until(judged(ear, 60), "parts are judged all the same", line)
        (small_disk / "other").unlink()
        until(lambda: not condition_in(line.run).error, "the journal goes on", line)
        said = stop(line)
        until_all_is_heard(ear, path)
    assert "the journal stops, verdicts do not" in said
    found = verify(path)
    assert (found.faults, found.missing) == ([], 0)
    assert held(path) == ear.first()


def test_a_line_that_ends_while_the_disk_is_full_is_written_by_the_next(
    endless: Callable[..., Path], small_disk: Path
) -> None:
    """Its verdicts stay in memory until then."""
    recipe = endless(f'[journal]\nfolder = "{small_disk}"\n', fps=60)
    path = journal_path(small_disk, line_name(recipe.parent))
    with Ear(recipe.parent) as ear:
        fill(small_disk / "other")
        for room in (False, True):
            if room:
                (small_disk / "other").unlink()
            with running(recipe) as line:
                before = len(ear.verdicts)
                until(lambda: len(ear.verdicts) > before + 20, "verdicts", line)  # noqa: B023
                stop(line)
    found = verify(path)
    assert (found.faults, found.missing) == ([], 0)
    heard, written = ear.first(), held(path)
    assert [place for place in heard if not same(heard[place], written[place])] == []


def test_a_folder_that_cannot_be_written_is_a_clear_error_at_the_start(endless: Callable[..., Path]) -> None:
    """The line does not start without its record."""
    recipe = endless('[journal]\nfolder = "/proc/journals"\n')
    with running(recipe) as line:
        status, said = line.wait()
    assert status == 1
    assert "journal: /proc/journals: cannot write the journal there" in said
    assert "[journal] folder" in said


@pytest.mark.slow
def test_what_the_ledger_used_again_becomes_a_gap(endless: Callable[..., Path]) -> None:
    """A journal that hangs for long says which verdicts it does not have."""
    recipe = endless(JOURNAL, fps=1500)
    with running(recipe) as line:
        pid = line.pid("journal")
        until(lambda: line.ledger().published > 100, "verdicts", line)
        os.kill(pid, signal.SIGSTOP)
        there = line.ledger().published
        until(lambda: line.ledger().published > there + 3000, "the rows are used again", line, PATIENCE_S)
        os.kill(pid, signal.SIGCONT)
        until(lambda: condition_in(line.run).missing > 0, "the gap", line)
        stop(line)
    found = verify(journal_of(recipe))
    assert found.faults == []
    assert found.missing > 0
    assert "the ledger used their rows again" in found.gaps[0]
