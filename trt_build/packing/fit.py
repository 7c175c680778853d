"""How well good boards fit their masters once they are registered, with a margin: a comparator's limits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from edge.errors import PartError
from edge.image.register import Registration, Template, register
from edge.manifest import Fit
from edge.recipe import Register
from trt_build.data.errors import DatasetError
from trt_build.data.pairs import Pair
from trt_build.terminal.progress import counted

MARGIN = 1.25  # over the worst that any good board showed
LEAST_RESIDUAL_PX = 2.0  # less is no sign of another part, however still the boards of the data set lay


def fit_of(pairs: Sequence[Pair]) -> Fit:
    """The limits that every board of the pairs keeps, its defects taken out and its pose changed.

    Boards that cannot be registered at all are left out; DatasetError where none can be.
    """
    found = list(_registrations(pairs))
    if not found:
        raise DatasetError("no board could be registered with its master: does each lie on it within 16 px?")
    return Fit(
        residual_px=round(max(LEAST_RESIDUAL_PX, MARGIN * max(one.residual_px for one in found)), 3),
        difference=round(MARGIN * max(one.difference.value for one in found), 4),
    )


def _registrations(pairs: Sequence[Pair]) -> Iterator[Registration]:
    rng = np.random.default_rng(17)
    for pair in counted(pairs, "registering"):
        shift, turn = rng.uniform(-6, 6, 2), rng.uniform(-0.7, 0.7)
        try:
            yield register(_moved(_without_defects(pair), shift, turn), Template(pair.master, Register()))
        except PartError:
            continue


def _without_defects(pair: Pair) -> npt.NDArray[np.uint8]:
    """The board `(H, W)`, with the master's pixels in the boxes of its defects."""
    board: npt.NDArray[np.uint8] = pair.board.copy()
    for left, top, right, bottom in pair.boxes.round().astype(int):
        board[top:bottom, left:right] = pair.master[top:bottom, left:right]
    return board


def _moved(board: npt.NDArray[np.uint8], shift: npt.NDArray[np.float64], turn: float) -> npt.NDArray[np.uint8]:
    """The board as it would lie on a belt: shifted by so many pixels and turned by so many degrees."""
    height, width = board.shape
    middle = ((width - 1) / 2, (height - 1) / 2)
    matrix = np.asarray(cv2.getRotationMatrix2D(middle, turn, 1.0), np.float64)
    matrix[:, 2] += shift
    return np.asarray(cv2.warpAffine(board, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)
