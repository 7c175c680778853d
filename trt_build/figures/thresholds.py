"""The float32 next under and next over a threshold."""

from __future__ import annotations

import numpy as np


def last_passed(threshold: float) -> float:
    """The greatest float32 under a threshold, which is the least score that is rejected."""
    return float(np.nextafter(np.float32(threshold), np.float32(-np.inf)))


def just_over(threshold: float) -> float:
    """The least float32 over it: a calibrated threshold itself is not rejected."""
    return float(np.nextafter(np.float32(threshold), np.float32(np.inf)))
