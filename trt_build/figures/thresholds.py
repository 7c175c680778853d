"""Return the float32 numbers next below and next above a threshold."""

from __future__ import annotations

import numpy as np


def last_passed(threshold: float) -> float:
    """Return the greatest float32 below a threshold that is the lowest rejected score."""
    return float(np.nextafter(np.float32(threshold), np.float32(-np.inf)))


def just_over(threshold: float) -> float:
    """Return the least float32 above a threshold that is the highest passed score."""
    return float(np.nextafter(np.float32(threshold), np.float32(np.inf)))
