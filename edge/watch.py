"""Shows a line's verdicts as they come, as a table or as lines of text."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .messages import Alarm, Broadcast, Verdict
from .subscriber import WAIT_MS, Heard, Subscriber

STYLE = {
    "pass": "green",
    "reject": "bold red",
    "unknown": "yellow",
    "judging": "green",
    "idle": "dim",
    "blind": "bold red",
    "held": "bold yellow",
}
ROWS = 20


def watch_line(endpoint: str, count: int, as_json: bool, stopping: Sequence[int]) -> None:
    """Show what a line publishes on `endpoint` until `stopping` is not empty or `count` verdicts came.

    A terminal shows a live table; any other output gets a line of text for each verdict. If `as_json`, each
    verdict is printed as JSON instead. If `count` is 0, there is no limit. Raise LineError if `endpoint` is
    wrong or if something other than a line publishes there.
    """
    console = Console()
    if as_json or not console.is_terminal:
        for heard in _hear(endpoint, count, stopping):
            if isinstance(heard.message, Verdict):
                print(heard.body.decode() if as_json else _line(heard.message), flush=True)
        return
    table = LiveTable(endpoint)
    with Live(table.render(), console=console, refresh_per_second=8) as live:
        for heard in _hear(endpoint, count, stopping):
            table.add(heard.message)
            live.update(table.render())


class LiveTable:
    """A table of the last verdicts. Below it are the counts of all verdicts and the line's state."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._last: deque[Verdict] = deque(maxlen=ROWS)
        self._counts: Counter[str] = Counter()
        self._state, self._reason = "waiting for the first heartbeat", ""
        self._alarms: tuple[str, ...] = ()
        self._texts: dict[str, str] = {}

    def add(self, message: Broadcast) -> None:
        """Add a verdict to the table, or show the state that a heartbeat reports, or an alarm."""
        if isinstance(message, Verdict):
            self._last.append(message)
            self._counts[message.verdict] += 1
        elif isinstance(message, Alarm):
            self._texts[message.alarm] = message.text
        else:
            self._state, self._reason, self._alarms = message.state, message.reason, message.alarms

    def render(self) -> Group:
        """Return the table, the counts and the line's state as they are now."""
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
        alarms = [
            Text(f"alarm {name}: {self._texts.get(name, 'see `edge ctl alarms`')}", STYLE["blind"])
            for name in self._alarms
        ]
        return Group(table, Text.assemble(counts, "   ", (state, STYLE.get(self._state, "dim"))), *alarms)


def _line(verdict: Verdict) -> str:
    said = _regions(verdict) or verdict.detail
    latency_ms = verdict.latency_us["total"] / 1000
    found = f"{verdict.part_id} {verdict.view} {verdict.verdict} ({verdict.reason}) {latency_ms:.1f} ms {said}"
    return found.rstrip()


def _regions(verdict: Verdict) -> str:
    return ", ".join(f"{region.kind} at {region.x:.0f},{region.y:.0f}" for region in verdict.regions)


def _hear(endpoint: str, count: int, stopping: Sequence[int]) -> Iterator[Heard]:
    """Yield messages until `stopping` is not empty or `count` verdicts came. A `count` of 0 means no limit."""
    seen = 0
    with Subscriber(endpoint) as subscriber:
        while not stopping and (not count or seen < count):
            if (heard := subscriber.hear(WAIT_MS)) is not None:
                seen += isinstance(heard.message, Verdict)
                yield heard
