"""A real line whose subscribers miss nothing, whatever is killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from journals import rows_in
from lines import RunningLine, line_name, running, stop, until

from edge.journal.store import journal_path
from edge.memory.confirmed import CONFIRMED, Confirmed
from edge.messages import Verdict
from edge.subscription import Missed, Place, Subscription


def replaying(recipe: Path, more: str = "") -> Path:
    """The recipe with a replay socket."""
    text = recipe.read_text()
    asked = f'replay = "ipc://{recipe.parent}/replay.ipc"\nconfirm = ["plc-1"]\n{more}'
    recipe.write_text(text.replace("[publish]\n", f"[publish]\n{asked}\n"))
    return recipe


def subscription(folder: Path, after: Place | None, confirm: str = "") -> Subscription:
    return Subscription(
        f"ipc://{folder}/verdicts.ipc",
        replay=f"ipc://{folder}/replay.ipc",
        after=after,
        confirm=confirm,
        patience_ms=20_000,
        silence_ms=20_000,
    )


def hear(heard: Subscription, events: list[Verdict | Missed], count: int) -> None:
    """Hear so many verdicts more."""
    end_s, count = time.monotonic() + 60, len(events) + count
    while len(events) < count:
        assert time.monotonic() < end_s
        event = heard.hear(100)
        if isinstance(event, Missed):
            events.append(event)
        elif isinstance(message := getattr(event, "message", None), Verdict):
            events.append(message)


def numbers(events: list[Verdict | Missed]) -> list[int]:
    """The numbers heard; all of them have to be verdicts."""
    found = []
    for event in events:
        assert isinstance(event, Verdict), str(event)
        found.append(event.number)
    return found


def test_a_subscriber_hears_each_verdict_of_a_line_once(tmp_path: Path, endless: Callable[..., Path]) -> None:
    """From the first on, though it comes late, was paused, and publish and replay are killed meanwhile."""
    with running(replaying(endless())) as line:
        until(lambda: _published(line) >= 10, "verdicts are published", line)
        events: list[Verdict | Missed] = []
        with subscription(tmp_path, Place(), confirm="plc-1") as heard:
            hear(heard, events, 10)
            for name in ("publish", "replay"):
                line.kill(name)
                hear(heard, events, 10)
            confirmed = Confirmed.open(line.run / CONFIRMED)
            until(lambda: confirmed["plc-1"].number, "it is confirmed", line)
            assert confirmed["plc-1"].number < len(events)
            place = heard.place
        with subscription(tmp_path, place) as heard:
            hear(heard, events, 10)
            while getattr(events[-1], "resent", True):
                hear(heard, events, 1)
        stop(line)
    assert numbers(events) == list(range(1, len(events) + 1))
    assert len({event.run for event in events if isinstance(event, Verdict)}) == 1
    assert events[0].resent


def test_the_rest_of_a_killed_run_is_heard(tmp_path: Path, endless: Callable[..., Path]) -> None:
    """Of a line that was killed as a whole, each verdict comes in its order, and then those of the next run."""
    recipe = replaying(endless())
    events: list[Verdict | Missed] = []
    with subscription(tmp_path, None) as heard:
        with running(recipe) as line:
            hear(heard, events, 5)
            run = line.run
            pids = [line.pid(name) for name in ("publish", "capture")]
            os.kill(line.process.pid, signal.SIGKILL)
            for pid in pids:
                _kill(pid)
        assert run.exists()
        with running(recipe) as line:
            while len({event.run for event in events}) == 1:
                hear(heard, events, 1)
            hear(heard, events, 5)
            stop(line)
    runs = list(dict.fromkeys(event.run for event in events))
    first = numbers([event for event in events if event.run == runs[0]])
    second = numbers([event for event in events if event.run == runs[1]])
    assert len(runs) == 2
    assert first == list(range(first[0], first[0] + len(first)))
    assert second == list(range(1, len(second) + 1))


def test_a_line_with_a_journal_is_heard_over_orderly_restarts(
    tmp_path: Path, endless: Callable[..., Path]
) -> None:
    """The rest of the run at which the subscriber left, the run between, and the one that goes on."""
    recipe = replaying(endless("[journal]\n"))
    with running(recipe) as line:
        events: list[Verdict | Missed] = []
        with subscription(tmp_path, Place()) as heard:
            hear(heard, events, 5)
            place = heard.place
        until(lambda: _published(line) >= place.number + 20, "verdicts that nobody hears", line)
        runs = [place.run]
        stop(line)
    for is_last in (False, True):
        with running(recipe) as line:
            until(lambda: _is_own(line) and _published(line) >= 3, "verdicts of the next run", line)
            runs.append(line.stages().run.hex())
            if is_last:
                with subscription(tmp_path, place) as heard:
                    while events[-1].run != runs[-1]:
                        hear(heard, events, 1)
                    hear(heard, events, 5)
            stop(line)
    assert list(dict.fromkeys(event.run for event in events)) == runs
    journal = journal_path(tmp_path / "state" / "linejudge" / "journal", line_name(tmp_path))
    written = [(row.run, row.number) for row in rows_in(journal) if row.kind == "verdict"]
    assert [(event.run, number) for event, number in zip(events, numbers(events), strict=True)] == [
        (run, number) for run, number in written if run != runs[-1] or number <= numbers(events)[-1]
    ]


def _is_own(line: RunningLine) -> bool:
    """Whether what is in shared memory is of this line, and not of the one before."""
    return (line.folder / "pid").read_text() == str(line.process.pid)


def _published(line: RunningLine) -> int:
    return line.ledger().published


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
