"""Draws the masters of rendered boards, as a plant would photograph its own."""

from __future__ import annotations

import numpy as np

from edge.recipe import Synthetic
from edge.render.board import design
from edge.render.photo import master


def master_pictures(section: Synthetic) -> dict[str, np.ndarray]:
    """The master of each view of the section: `(H, W)` grey or `(H, W, 3)` BGR, uint8."""
    designs = [design(number, section.height, section.width) for number in range(section.views)]
    return {board.view: master(board, colour=section.color != "gray") for board in designs}
