"""Shows a line's verdicts as they come, as a table or as lines of text."""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Iterator, Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .messages import Alarm, Broadcast, Verdict
from .subscriber import WAIT_MS, Heard
from .subscription import Missed, Silent, Subscription
from .subscription.subscription import Event

STYLE = {
    "pass": "green",
    "reject": "bold red",
    "unknown": "yellow",
    "judging": "green",
    "idle": "dim",
    "blind": "bold red",
    "held": "bold yellow",
    "silent": "bold red",
}
ROWS = 20


def watch_line(
    subscription: Subscription, title: str, count: int, as_json: bool, stopping: Sequence[int]
) -> None:
    """Show what a subscription hears until `stopping` is not empty or `count` verdicts came.

    A terminal shows a live table; any other output gets a line of text for each verdict, each loss and each
    silence. If `as_json`, each verdict is printed as JSON instead, and losses and silence go to stderr. If
    `count` is 0, there is no limit. Raise LineError if something other than a line publishes there.
    """
    console = Console()
    if as_json or not console.is_terminal:
        for event in _hear(subscription, count, stopping):
            if not isinstance(event, Heard):
                print(event, flush=True, file=sys.stderr if as_json else sys.stdout)
            elif isinstance(event.message, Verdict):
                print(event.body.decode() if as_json else _line(event.message), flush=True)
        return
    table = LiveTable(title)
    with Live(table.render(), console=console, refresh_per_second=8) as live:
        for event in _hear(subscription, count, stopping):
            if isinstance(event, Heard):
                table.add(event.message)
            else:
                table.tell(event)
            live.update(table.render())


class LiveTable:
    """A table of the last verdicts. Below it are the counts of all verdicts and the line's state."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._last: deque[Verdict] = deque(maxlen=ROWS)
        self._counts: Counter[str] = Counter()
        self._state, self._reason = "waiting for the first heartbeat", ""
        self._alarms: tuple[str, ...] = ()
        self._missed = ""
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

    def tell(self, event: Missed | Silent) -> None:
        """Show that verdicts are lost, or that the line is silent until its next heartbeat."""
        if isinstance(event, Missed):
            self._missed = str(event)
        else:
            self._state, self._reason = "silent", str(event)

    def render(self) -> Group:
        """Return the table, the counts and the line's state as they are now."""
        table = Table(title=self._title, expand=True)
        for heading in ("number", "part", "view", "verdict", "reason", "score", "latency", "regions"):
            table.add_column(heading, justify="right" if heading in ("number", "score", "latency") else "left")
        for verdict in self._last:
            table.add_row(
                str(verdict.number),
                verdict.part_id,
                verdict.view,
                Text(verdict.verdict, STYLE[verdict.verdict]),
                verdict.reason,
                "" if verdict.score is None else f"{verdict.score:.3f}",
                f"{verdict.latency_us['total'] / 1000:.1f} ms",
                _said(verdict),
            )
        counts = "   ".join(f"{self._counts[kind]} {kind}" for kind in ("pass", "reject", "unknown"))
        state = f"{self._state}: {self._reason}" if self._reason else self._state
        alarms = [
            Text(f"alarm {name}: {self._texts.get(name, 'see `edge ctl alarms`')}", STYLE["blind"])
            for name in self._alarms
        ]
        missed = [Text(self._missed, STYLE["silent"])] if self._missed else []
        return Group(
            table, *missed, Text.assemble(counts, "   ", (state, STYLE.get(self._state, "dim"))), *alarms
        )


def _line(verdict: Verdict) -> str:
    said = _said(verdict)
    latency_ms = verdict.latency_us["total"] / 1000
    decided = f"{verdict.verdict} ({verdict.reason})"
    return f"{verdict.number} {verdict.part_id} {verdict.view} {decided} {latency_ms:.1f} ms {said}".rstrip()


def _said(verdict: Verdict) -> str:
    """Return where a part looks defective, or why it is unknown, and what each of several cameras found."""
    said = [_regions(verdict) or verdict.detail]
    if isinstance(verdict.looks, list):
        said.insert(0, " ".join(f"{look.camera}:{look.reason}" for look in verdict.looks))
    return "; ".join(filter(None, said))


def _regions(verdict: Verdict) -> str:
    return ", ".join(
        f"{region.kind} at {region.x:.0f},{region.y:.0f}{f' of {region.camera}' if region.camera else ''}"
        for region in verdict.regions
    )


def _hear(subscription: Subscription, count: int, stopping: Sequence[int]) -> Iterator[Event]:
    """Yield events until `stopping` is not empty or `count` verdicts came. A `count` of 0 means no limit."""
    seen = 0
    with subscription:
        while not stopping and (not count or seen < count):
            if (event := subscription.hear(WAIT_MS)) is not None:
                seen += isinstance(event, Heard) and isinstance(event.message, Verdict)
                yield event
