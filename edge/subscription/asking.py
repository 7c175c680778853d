"""Decides when a subscriber asks for missing verdicts, when it asks again, and when it gives up."""

from __future__ import annotations

from typing import Literal

from .order import Wanted

#: The answer to a question comes within milliseconds. After this time, the question or its answer was lost.
AGAIN_NS = 200_000_000
#: Time to wait before the next question if the line has not got the wanted verdict yet.
PAUSE_NS = 10_000_000


class Asking:
    """Holds when the next question is due. It gives up if the first wanted verdict is `patience_ns` overdue."""

    def __init__(self, patience_ns: int) -> None:
        self._patience_ns = patience_ns
        self._first: tuple[str, int] | None = None
        self._since_ns = self._due_ns = 0

    def step(self, wanted: Wanted | None, now_ns: int) -> Literal["ask", "wait", "give up"]:
        """Return what to do now. After "ask", the caller asks for the range `wanted`."""
        if wanted is None:
            self._first = None
            return "wait"
        if (first := (wanted.run, wanted.first)) != self._first:
            self._first, self._since_ns, self._due_ns = first, now_ns, now_ns
        if now_ns - self._since_ns >= self._patience_ns:
            self._first = None
            return "give up"
        if now_ns < self._due_ns:
            return "wait"
        self._due_ns = now_ns + AGAIN_NS
        return "ask"

    def answered(self, now_ns: int) -> None:
        """Note that an answer came. If it brought nothing, the next question is due after a pause."""
        self._due_ns = now_ns + PAUSE_NS
