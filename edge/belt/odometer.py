"""Makes a belt's position, which never wraps around, from the count of an encoder, which does."""

from __future__ import annotations

from .track import JUMP

#: How far a count may be ahead of the highest speed, in time: readings are not taken at exact moments.
SLACK_S = 0.02


class Odometer:
    """Follows an encoder's count over wrap-arounds and over restarts of the process that reads it.

    `modulus` is the number of values that the count has; 0: it never wraps around. `last` is the last sample
    of the process before: time, position and count.
    """

    def __init__(self, modulus: int, most_ticks_per_s: float, last: tuple[int, int, int] | None = None) -> None:
        self._modulus, self._most = modulus, most_ticks_per_s
        self._last = last

    def position(self, ns: int, count: int) -> int:
        """Return the position for the count that was read at the time `ns`.

        The belt is taken to have moved the shorter way round. If it would have moved faster than it can, the
        encoder was reset: the position then continues JUMP ahead, where no part is.
        """
        if self._last is None:
            self._last = ns, count, count
            return count
        last_ns, position, last_count = self._last
        moved = count - last_count
        if self._modulus:
            moved = (moved + self._modulus // 2) % self._modulus - self._modulus // 2
        if abs(moved) > self._most * ((ns - last_ns) / 1e9 + SLACK_S):
            moved = JUMP
        self._last = ns, position + moved, count
        return position + moved
