"""`edge watch`, hearing a real line."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from lines import Subscriber, judged, running, stop, until
from rich.console import Console

from edge.messages import Heartbeat, Verdict
from edge.watch import LiveTable
from edge.wire import verdict_from


def watch(endpoint: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge", "watch", endpoint, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_a_line_can_be_watched(tmp_path: Path, endless: Callable[..., Path]) -> None:
    """In a pipe, verdicts come as lines of text or, with --json, as they are; --count ends it."""
    with Subscriber(tmp_path) as subscriber, running(endless()) as line:
        until(judged(subscriber, 3), "parts are judged", line)
        plain = watch(f"ipc://{tmp_path}/verdicts.ipc", "--count", "3")
        exact = watch(f"ipc://{tmp_path}/verdicts.ipc", "--count", "3", "--json")
        stop(line)
    assert plain.returncode == exact.returncode == 0, plain.stderr + exact.stderr
    assert [row.split()[2:4] for row in plain.stdout.splitlines()] == [["pass", "(clean)"]] * 3
    told = [verdict_from(row.encode()) for row in exact.stdout.splitlines()]
    heard = {verdict.part_id: verdict for _, verdict in subscriber.verdicts}
    assert len(told) == 3
    assert all(heard[verdict.part_id] == verdict for verdict in told)


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


@pytest.fixture
def verdict() -> Verdict:
    return Verdict(
        line="pcb",
        part_id="7-1042",
        epoch=7,
        sequence=1042,
        camera="camera",
        view="a",
        source_ref="",
        skipped=0,
        verdict="unknown",
        reason="dark",
        detail="the picture's contrast is 2 grey levels",
        score=None,
        threshold=None,
        p_value=None,
        judges=[],
        regions=[],
        captured_at="2026-11-20T09:30:00.125000Z",
        captured_ns=0,
        published_ns=9_100_000,
        deadline_ns=200_000_000,
        latency_us={"total": 9100},
        registration_px=None,
        recipe="r",
        bundle="b",
    )


def test_the_table_shows_verdicts_counts_and_state(verdict: Verdict) -> None:
    """What a person sees: the part, why it is unknown, how many of each kind, and the line's state."""
    table = LiveTable("tcp://127.0.0.1:5571")
    table.add(verdict)
    table.add(msgspec.structs.replace(verdict, part_id="7-1043", verdict="pass", reason="clean", score=0.1))
    table.add(
        Heartbeat(
            line="pcb", state="judging", part_id=None, judged_at=None, judged_ns=None, published_ns=0, parts=2
        )
    )
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(table.render())

    shown = console.export_text()
    for what in ("7-1042", "dark", "contrast is 2", "7-1043", "9.1 ms", "1 pass", "1 unknown", "judging"):
        assert what in shown
