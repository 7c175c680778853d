"""Computes how a simulated belt moves: at a speed that varies, with stops, and backwards now and then.

The position is a function of the time alone. So all processes of a line see the same belt, also after restarts.
"""

from __future__ import annotations

import math

from ..recipe import SimulatedEncoder


class Motion:
    """The position of a simulated belt at each time, in ticks, and when it first reaches a position.

    In each cycle the belt runs for `stop_every_s`, stands for `stop_s` and goes back for `back_s`; without
    `stop_every_s` it always runs. Times are nanoseconds of the monotonic clock.
    """

    def __init__(self, section: SimulatedEncoder) -> None:
        self._speed = section.ticks_per_s / 1e9
        self._run = section.stop_every_s * 1e9
        self._stop, self._back = section.stop_s * 1e9, section.back_s * 1e9
        # The speed rises and falls by the slip, once in a second at the mean speed.
        self._slip, self._wave = section.slip, section.ticks_per_s / math.tau
        self._phase = section.seed % 1000 / 1000 * math.tau

    def position(self, ns: int) -> int:
        """Return the position at the time `ns`, in ticks."""
        return math.floor(self._slipped(self._even(ns)))

    def reach_ns(self, position: int) -> int:
        """Return the first time at which the belt is at `position` or has passed it."""
        low, high = position - self._slip * self._wave - 1, position + self._slip * self._wave + 1
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (low, middle) if self._slipped(middle) >= position else (middle, high)
        return math.ceil(self._even_reached(high))

    def _even(self, ns: int) -> float:
        """Return the position without slip."""
        if not self._run:
            return self._speed * ns
        cycles, within = divmod(ns, self._run + self._stop + self._back)
        back = max(0.0, within - self._run - self._stop)
        return self._speed * (cycles * (self._run - self._back) + min(within, self._run) - back)

    def _even_reached(self, even: float) -> float:
        """Return the first time at which the position without slip is `even`."""
        if not self._run:
            return even / self._speed
        each = self._speed * (self._run - self._back)
        cycle = math.ceil((even - self._speed * self._run) / each)
        return cycle * (self._run + self._stop + self._back) + (even - cycle * each) / self._speed

    def _slipped(self, even: float) -> float:
        return even + self._slip * self._wave * math.sin(even / self._wave + self._phase)
