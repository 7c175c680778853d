"""Measures how well good boards lie on their masters after registration, and sets limits for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from edge.errors import PartError
from edge.image.picture import grey
from edge.image.register import Registration, Template, register
from edge.manifest import Fit
from edge.recipe import Register
from trt_build.data.errors import DatasetError
from trt_build.data.pairs import Pair
from trt_build.terminal.progress import counted

#: Factor between the worst value of any good board and the limit.
MARGIN = 1.25
#: Smallest limit of the residual: less never shows another part, even if the data set's boards never move.
LEAST_RESIDUAL_PX = 2.0


def fit_of(pairs: Sequence[Pair]) -> Fit:
    """Return limits for how far a board may lie off its master and differ from it after registration.

    Each limit is MARGIN times the worst value of any board in `pairs`, after its defects are removed and it is
    moved at random. Boards that cannot be registered are left out; if all are, DatasetError is raised.
    """
    found = list(_registrations(pairs))
    if not found:
        raise DatasetError("no board could be registered with its master: does each lie on it within 16 px?")
    return Fit(
        residual_px=round(max(LEAST_RESIDUAL_PX, MARGIN * max(one.residual_px for one in found)), 3),
        difference=round(MARGIN * max(one.difference.value for one in found), 4),
    )


def _registrations(pairs: Sequence[Pair]) -> Iterator[Registration]:
    """Yield how well each board lies on its master. Before, its defects are removed and it is moved.

    The board is moved at random. Boards that cannot be registered are left out.
    """
    rng = np.random.default_rng(17)
    for pair in counted(pairs, "registering"):
        shift, turn = rng.uniform(-6, 6, 2), rng.uniform(-0.7, 0.7)
        try:
            board = _moved(grey(_without_defects(pair)), shift, turn)
            yield register(board, Template(grey(pair.master), Register()))
        except PartError:
            continue


def _without_defects(pair: Pair) -> npt.NDArray[np.uint8]:
    """Return the board in its own shape. The boxes of its defects are filled with the master's pixels."""
    board: npt.NDArray[np.uint8] = pair.board.copy()
    for left, top, right, bottom in pair.boxes.round().astype(int):
        board[top:bottom, left:right] = pair.master[top:bottom, left:right]
    return board


def _moved(board: npt.NDArray[np.uint8], shift: npt.NDArray[np.float64], turn: float) -> npt.NDArray[np.uint8]:
    """Return the board as `(H, W)` uint8, moved by `shift`, x and y in pixels, and turned by `turn` degrees."""
    height, width = board.shape
    middle = ((width - 1) / 2, (height - 1) / 2)
    matrix = np.asarray(cv2.getRotationMatrix2D(middle, turn, 1.0), np.float64)
    matrix[:, 2] += shift
    return np.asarray(cv2.warpAffine(board, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)
