"""Reports the position of a simulated belt as the count of an encoder."""

from __future__ import annotations

import time

from ...recipe import SimulatedEncoder
from ..motion import Motion
from .base import PERIOD_S


class Simulated:
    """An encoder on a belt whose position is a function of the time."""

    modulus = 0

    def __init__(self, section: SimulatedEncoder) -> None:
        self._motion = Motion(section)

    def __enter__(self) -> Simulated:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def read(self) -> tuple[int, int]:
        """Return the time and the position of the belt at this time, in ticks."""
        time.sleep(PERIOD_S)
        now_ns = time.monotonic_ns()
        return now_ns, self._motion.position(now_ns)
