"""Decides when the black box is written: after an unknown, a reject or a fault, with some parts that follow."""

from __future__ import annotations

from ..messages import Verdict
from ..recipe import BlackBox

#: If fewer parts than wanted follow, the black box is written after this time.
MOST_WAIT_NS = 2_000_000_000
_HOUR_NS = 3_600_000_000_000


class Occasion:
    """Says when to write the black box. It knows no clock: the caller tells the time.

    An event that comes before the black box is written belongs to the same file. No more than `per_hour` files
    are written at once, and then one whenever an hour divided by `per_hour` has passed. `skipped` counts the
    events for which no file was allowed.
    """

    def __init__(self, choice: BlackBox) -> None:
        self._choice = choice
        self._why = ""
        self._after = 0
        self._end_ns = 0
        self._allowed, self._counted_ns = float(choice.per_hour), 0
        self.skipped = 0

    def heard(self, verdict: Verdict, now_ns: int) -> None:
        """Note a verdict."""
        if self._why:
            self._after -= 1
        if verdict.verdict in self._choice.on:
            self._begin(f"{verdict.verdict}-{verdict.reason}", now_ns)

    def failed(self, process: str, now_ns: int) -> None:
        """Note that a process of the line has ended."""
        if "fault" in self._choice.on:
            self._begin(f"fault-{process}", now_ns)

    def _begin(self, why: str, now_ns: int) -> None:
        if self._why:
            return
        refilled = (now_ns - self._counted_ns) * self._choice.per_hour / _HOUR_NS if self._counted_ns else 0.0
        self._allowed = min(self._allowed + refilled, float(self._choice.per_hour))
        self._counted_ns = now_ns
        if self._allowed < 1:
            self.skipped += 1
            return
        self._allowed -= 1
        self._why, self._after, self._end_ns = why, self._choice.after, now_ns + MOST_WAIT_NS

    def due(self, now_ns: int, *, ending: bool = False) -> str:
        """Return why the black box is to be written now; empty if it is not.

        `ending` says that no more parts will come.
        """
        if not self._why or not (ending or self._after <= 0 or now_ns >= self._end_ns):
            return ""
        why, self._why = self._why, ""
        return why
