"""A comparator's limits of registration are what good boards need, with a margin."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.bundle import read_model
from edge.errors import PartError
from edge.image.register import Template, register
from edge.recipe import Register
from edge.render.board import design
from edge.render.photo import BoardPose, master, photograph
from trt_build.data.errors import DatasetError
from trt_build.data.pairs import Pair
from trt_build.packing.fit import LEAST_RESIDUAL_PX, MARGIN, fit_of


def pair(number: int, noise: float = 0.0) -> Pair:
    """A good board with more or less noise, as it lies on its master."""
    plan, rng = design(number, 320, 320), np.random.default_rng(number)
    board = photograph(plan.art, plan, BoardPose(), rng)
    noisy = np.clip(board + rng.normal(0, noise, board.shape), 0, 255).astype(np.uint8)
    return Pair(
        name=str(number),
        master=master(plan),
        board=noisy,
        boxes=np.zeros((0, 4), np.float32),
        kinds=np.zeros(0, np.int64),
    )


def test_good_boards_keep_the_limits() -> None:
    """Every board that they were taken from fits, and by the margin."""
    pairs = [pair(number) for number in range(300, 306)]
    fit = fit_of(pairs)
    found = [register(one.board, Template(one.master, Register())) for one in pairs]
    assert fit.residual_px >= LEAST_RESIDUAL_PX
    assert max(one.difference.value for one in found) * MARGIN < 1.5 * fit.difference
    assert max(one.residual_px for one in found) < fit.residual_px


def test_a_defect_does_not_widen_the_limits() -> None:
    """What is in the box of a defect is not taken for a good board's."""
    plain = pair(300)
    board = plain.board.copy()
    board[100:160, 100:160] = 128
    marked = replace(
        plain, board=board, boxes=np.array([[100, 100, 160, 160]], np.float32), kinds=np.array([0])
    )
    unmarked = replace(plain, board=board)
    assert fit_of([marked]).difference < 3 * fit_of([plain]).difference
    assert fit_of([unmarked]).difference > 5 * fit_of([marked]).difference


def test_boards_that_lie_on_no_master_are_said() -> None:
    """Limits cannot come from boards of other masters."""
    one, other = pair(301), pair(302)
    swapped = replace(one, master=255 - other.master)
    with pytest.raises(PartError):
        register(swapped.board, Template(swapped.master, Register()))
    with pytest.raises(DatasetError, match="no board could be registered"):
        fit_of([swapped])


def test_calibration_writes_the_limits(calibrated_pcb: Path) -> None:
    """They travel with the bundle."""
    fit = read_model(calibrated_pcb).manifest.fit
    assert fit is not None
    assert fit.difference > 0
