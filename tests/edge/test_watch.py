"""`edge watch`, hearing a real line."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from lines import UNHURRIED, Subscriber, judged, running, stop, until
from parts import ALARM, HEARTBEAT, VERDICT
from rich.console import Console

from edge.subscription import Missed, Silent
from edge.watch import LiveTable
from edge.wire import verdict_from


def watch(endpoint: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge", "watch", endpoint, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_a_line_can_be_watched(tmp_path: Path, endless: Callable[..., Path]) -> None:
    """In a pipe, verdicts come as lines of text or, with --json, as they are; --count ends it."""
    with Subscriber(tmp_path) as subscriber, running(endless(UNHURRIED)) as line:
        until(judged(subscriber, 3), "parts are judged", line)
        plain = watch(f"ipc://{tmp_path}/verdicts.ipc", "--count", "3")
        exact = watch(f"ipc://{tmp_path}/verdicts.ipc", "--count", "3", "--json")
        ledger = line.ledger()
        stop(line)
        until(lambda: len(subscriber.verdicts) >= ledger.captured, "the last verdict is heard")
    assert plain.returncode == exact.returncode == 0, plain.stderr + exact.stderr
    assert [row.split()[3:5] for row in plain.stdout.splitlines()] == [["pass", "(clean)"]] * 3
    told = [verdict_from(row.encode()) for row in exact.stdout.splitlines()]
    heard = {verdict.part_id: verdict for _, verdict in subscriber.verdicts}
    assert len(told) == 3
    assert all(heard[verdict.part_id] == verdict for verdict in told)


def test_a_line_can_be_watched_from_its_start(tmp_path: Path, endless: Callable[..., Path]) -> None:
    """Or from any verdict that it still has, which its replay socket gives."""
    recipe, replay = endless(), f"ipc://{tmp_path}/replay.ipc"
    recipe.write_text(recipe.read_text().replace("[publish]", f'[publish]\nreplay = "{replay}"'))
    with Subscriber(tmp_path) as subscriber, running(recipe) as line:
        until(judged(subscriber, 10), "parts are judged", line)
        shown = [
            watch(f"ipc://{tmp_path}/verdicts.ipc", "--replay", replay, "--from", since, "--count", "4")
            for since in ("start", "3")
        ]
        stop(line)
    numbers = [[int(row.split()[0]) for row in done.stdout.splitlines()] for done in shown]
    assert numbers == [[1, 2, 3, 4], [3, 4, 5, 6]], [done.stderr for done in shown]


@pytest.mark.parametrize("options", [("--from", "0"), ("--from", "x", "--replay", "ipc:///r"), ("--from", "3")])
def test_a_start_that_is_none_is_said(options: tuple[str, ...]) -> None:
    """With what may be written."""
    done = watch("tcp://127.0.0.1:5571", *options)
    assert done.returncode == 1
    assert "expected `start` or a number from 1 on, and --replay" in done.stderr


def test_losses_and_silence_are_shown() -> None:
    """Until the next heartbeat says how the line is."""
    table = LiveTable("tcp://127.0.0.1:5571")
    table.tell(Missed(run="a", first=3, last=9))
    table.tell(Silent(silent_ms=3000))
    shown = rendered(table)
    assert "verdicts 3 to 9 of run a are lost" in shown
    assert "silent: no heartbeat for 3.0 s" in shown
    table.add(HEARTBEAT)
    assert "silent" not in rendered(table)


def rendered(table: LiveTable) -> str:
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(table.render())
    return console.export_text()


def test_an_endpoint_that_is_none_is_said() -> None:
    """A mistyped address is one clear line."""
    done = watch("127.0.0.1:5571")
    assert done.returncode == 1
    assert done.stderr.startswith("edge: '127.0.0.1:5571' is no endpoint")
    assert done.stderr.count("\n") == 1


def test_who_stops_reading_along_ends_the_watch(tmp_path: Path, endless: Callable[..., Path]) -> None:
    """As in `edge watch ... | head`: no traceback."""
    with Subscriber(tmp_path) as subscriber, running(endless()) as line:
        until(judged(subscriber, 1), "a part is judged", line)
        command = [sys.executable, "-m", "edge", "watch", f"ipc://{tmp_path}/verdicts.ipc"]
        watching = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert watching.stdout
        assert watching.stderr
        watching.stdout.readline()
        watching.stdout.close()
        assert watching.wait(60) == 0
        assert watching.stderr.read() == ""
        watching.stderr.close()
        stop(line)


def test_the_table_shows_verdicts_counts_and_state() -> None:
    """What a person sees: the part, why it is unknown, how many of each kind, and the line's state."""
    table = LiveTable("tcp://127.0.0.1:5571")
    unknown = {"verdict": "unknown", "reason": "dark", "detail": "contrast is 2", "score": None}
    table.add(VERDICT)
    table.add(msgspec.structs.replace(VERDICT, part_id="1-8", **unknown))
    table.add(HEARTBEAT)
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(table.render())

    shown = console.export_text()
    for what in ("1-7", "dark", "contrast is 2", "1-8", "40.0 ms", "1 pass", "1 unknown", "judging"):
        assert what in shown


def test_the_table_shows_the_alarms_that_are_active() -> None:
    """Who looks at the line sees an alarm and its text, also after connecting late, until it is cleared."""

    def shown(*alarms: str) -> str:
        table.add(msgspec.structs.replace(HEARTBEAT, alarms=alarms))
        console = Console(width=160, record=True, file=io.StringIO())
        console.print(table.render())
        return console.export_text()

    table = LiveTable("tcp://127.0.0.1:5571")
    assert "alarm consecutive: see `edge ctl alarms`" in shown("consecutive")
    table.add(ALARM)
    assert "alarm consecutive: 10 parts in a row were not accepted" in shown("consecutive")
    assert "alarm" not in shown()
