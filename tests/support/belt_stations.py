"""A belt with a second camera a second behind the first, and what a verdict on it tells, in short."""

from __future__ import annotations

from belt_desk import GUARD_NS, MS

from edge.belt.course import ENTRY_NS
from edge.belt.layout import Layout
from edge.belt.match import Station
from edge.messages import Look, Verdict

SIDE = Station(name="side", at=1000 * MS, window=100 * MS)
BY_TIME = Layout(stations=(SIDE,), several=True, eject_at=2000 * MS, lead_ns=100 * MS)
SETTLED = SIDE.at + SIDE.window + ENTRY_NS
DUE = 1900 * MS - GUARD_NS


def looks(verdict: Verdict) -> list[Look]:
    assert isinstance(verdict.looks, list)
    return verdict.looks


def told(verdict: Verdict) -> tuple[str, str, list[str]]:
    """Verdict, reason, and the reason of each look."""
    return verdict.verdict, verdict.reason, [look.reason for look in looks(verdict)]
