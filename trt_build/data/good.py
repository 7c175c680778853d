"""Reads the good parts of a training, and says which limits on false rejects a threshold can keep with them."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from pathlib import Path

from trt_build.data.errors import DatasetError
from trt_build.data.parts import SHARES, Good, read_parts, split_good
from trt_build.data.rates import parts_for, rate_of, scores_for
from trt_build.terminal.console import console

log = logging.getLogger(__name__)

#: Limits for which the needed number of good parts is said, and the confidence of the stricter promise.
RATES, CONFIDENCE = (0.05, 0.01, 0.001), 0.95


def read_good(
    folder: Path, *, mixed_sizes: bool = False, tiles: tuple[int, int] = (1, 1), few: int = 0
) -> Good:
    """Return the good parts in a folder, split. Print how many there are, and how many thresholds need.

    `tiles` are columns and rows of the inputs into which each picture is cut. With `few` good parts or
    fewer, warn that other methods find more.

    Raise DatasetError if the folder has mistakes, or too few good parts to train with and check the training.
    """
    parts = [replace(part, tiles=tiles) for part in read_parts(folder, mixed_sizes=mixed_sizes).train]
    good = split_good(parts)
    trained = len(good.fit) + len(good.validation)
    if len(good.fit) < 2 or not good.validation:
        raise DatasetError(
            f"{folder / 'train/good'}: {len(parts)} good parts leave {trained} to train with, and 3 are the "
            f"least: {parts_for(scores_for(RATES[0]), SHARES['calibration'])} would also set a threshold"
        )
    console.print("\n".join(said_of(good)))
    if len(parts) <= few:
        log.warning("with %d good parts or fewer, pfm and gaussian may find more than this method", few)
    return good


def said_of(good: Good) -> list[str]:
    """Return lines of text: what a threshold from these parts can promise, and what other promises need."""
    kept = len(good.calibration)
    trained = len(good.fit) + len(good.validation)
    return [
        f"{trained + kept} good parts: {trained} to train with, {kept} kept for the threshold, which "
        f"{promised(kept)}",
        "; ".join(needed(rate) for rate in RATES),
    ]


def promised(scores: int) -> str:
    """Return in words the lowest limits on false rejects that a threshold from so many scores can promise."""
    if not scores:
        return "cannot be set: take more pictures of good parts before you calibrate"
    return (
        f"can keep false rejects at {_percent(rate_of(scores))} on average, "
        f"{_percent(rate_of(scores, CONFIDENCE))} with {_percent(CONFIDENCE)} confidence"
    )


def needed(rate: float) -> str:
    """Return in words how many good parts in all a limit on false rejects needs, for each kind of promise."""
    average, confident = (
        parts_for(scores_for(rate, sure), SHARES["calibration"]) for sure in (None, CONFIDENCE)
    )
    return f"{_percent(rate)} needs about {average} good parts in all ({confident} with confidence)"


def _percent(share: float) -> str:
    """Return a share, 0 to 1, as text in percent, rounded up so that no promise is too strong."""
    return f"{math.ceil(1e4 * share - 1e-6) / 100:g} %"
