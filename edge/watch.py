"""Shows a line's verdicts as they come, heard on its reject socket like any subscriber does."""

from __future__ import annotations

import errno
import re
from collections import Counter, deque
from collections.abc import Iterator, Sequence

import zmq
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .errors import LineError
from .messages import Heartbeat, Verdict
from .recipe import MOST_PORT
from .wire import heartbeat_from, verdict_from

STYLE = {
    "pass": "green",
    "reject": "bold red",
    "unknown": "yellow",
    "judging": "green",
    "idle": "dim",
    "blind": "bold red",
}
ROWS = 20
MESSAGE_BYTES = 65_536  # more than any verdict has


def watch_line(endpoint: str, count: int, as_json: bool, stopping: Sequence[int]) -> None:
    """Show what comes in from `endpoint` until `stopping` has something in it or `count` verdicts came."""
    console = Console()
    if as_json or not console.is_terminal:
        for message, body in _messages(endpoint, count, stopping):
            if isinstance(message, Verdict):
                print(body.decode() if as_json else _line(message), flush=True)
        return
    table = LiveTable(endpoint)
    with Live(table.render(), console=console, refresh_per_second=8) as live:
        for message, _ in _messages(endpoint, count, stopping):
            table.add(message)
            live.update(table.render())


class LiveTable:
    """The last verdicts, with counts and the line's state below them."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._last: deque[Verdict] = deque(maxlen=ROWS)
        self._counts: Counter[str] = Counter()
        self._state, self._reason = "waiting for the first heartbeat", ""

    def add(self, message: Verdict | Heartbeat) -> None:
        if isinstance(message, Verdict):
            self._last.append(message)
            self._counts[message.verdict] += 1
        else:
            self._state, self._reason = message.state, message.reason

    def render(self) -> Group:
        table = Table(title=self._title, expand=True)
        for heading in ("part", "view", "verdict", "reason", "score", "latency", "regions"):
            table.add_column(heading, justify="right" if heading in ("score", "latency") else "left")
        for verdict in self._last:
            table.add_row(
                verdict.part_id,
                verdict.view,
                Text(verdict.verdict, STYLE[verdict.verdict]),
                verdict.reason,
                "" if verdict.score is None else f"{verdict.score:.3f}",
                f"{verdict.latency_us['total'] / 1000:.1f} ms",
                _regions(verdict) or verdict.detail,
            )
        counts = "   ".join(f"{self._counts[kind]} {kind}" for kind in ("pass", "reject", "unknown"))
        state = f"{self._state}: {self._reason}" if self._reason else self._state
        return Group(table, Text.assemble(counts, "   ", (state, STYLE.get(self._state, "dim"))))


def _line(verdict: Verdict) -> str:
    said = _regions(verdict) or verdict.detail
    latency_ms = verdict.latency_us["total"] / 1000
    found = f"{verdict.part_id} {verdict.view} {verdict.verdict} ({verdict.reason}) {latency_ms:.1f} ms {said}"
    return found.rstrip()


def _regions(verdict: Verdict) -> str:
    return ", ".join(f"{region.kind} at {region.x:.0f},{region.y:.0f}" for region in verdict.regions)


def _messages(
    endpoint: str, count: int, stopping: Sequence[int]
) -> Iterator[tuple[Verdict | Heartbeat, bytes]]:
    context = zmq.Context()
    socket = context.socket(zmq.SUB)
    try:
        socket.maxmsgsize = MESSAGE_BYTES
        socket.ipv6 = "[" in endpoint
        socket.subscribe(b"")
        try:
            port = re.fullmatch(r"tcp://.*:(\d+)", endpoint)
            if port and int(port[1]) > MOST_PORT:  # of which the system would take another one
                raise zmq.ZMQError(errno.EINVAL)
            socket.connect(endpoint)
        except zmq.ZMQError as error:
            raise LineError(
                f"{endpoint!r} is no endpoint: {error.strerror}: try tcp://127.0.0.1:5571"
            ) from error
        seen = 0
        while not stopping and (not count or seen < count):
            if socket.poll(100):
                try:
                    topic, body = socket.recv_multipart()
                    message = heartbeat_from(body) if topic.startswith(b"heartbeat.") else verdict_from(body)
                except ValueError as error:  # other parts than two, or no such JSON
                    raise LineError(
                        f"{endpoint}: what comes from there is no verdict of this version: is it a line's "
                        "endpoint, as its recipe says under [publish]?"
                    ) from error
                seen += isinstance(message, Verdict)
                yield message, body
    finally:
        context.destroy(linger=0)
