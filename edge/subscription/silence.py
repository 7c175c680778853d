"""Notices that a line has become silent: no heartbeat came for a time in which the subscriber listened."""

from __future__ import annotations


class Silence:
    """Adds up the time that a subscriber waited without a heartbeat, in periods of `limit_ns`.

    Time in which the subscriber did not listen does not count: messages may have come meanwhile.
    """

    def __init__(self, limit_ns: int) -> None:
        self._limit_ns = self._due_ns = limit_ns
        self._waited_ns = 0

    def heartbeat(self) -> None:
        """Note that a heartbeat came."""
        self._waited_ns, self._due_ns = 0, self._limit_ns

    def waited(self, ns: int) -> None:
        """Note that the subscriber waited for `ns` nanoseconds, at the end of which no message was there."""
        self._waited_ns += ns

    def due(self) -> int | None:
        """Return how many nanoseconds the silence has lasted, once for each period. None: nothing to tell."""
        if self._waited_ns < self._due_ns:
            return None
        self._due_ns = self._waited_ns + self._limit_ns
        return self._waited_ns
