"""Renders pictures of bare circuit boards, some with defects, and writes the true defects to a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from .. import recipe
from ..errors import SourceEnded, SourceError
from ..render.board import Design, design
from ..render.defects import KINDS, Box, add_defect
from ..render.photo import BoardPose, mosaic, photograph
from .base import EarlierPicture, Trigger, deliver
from .pace import Pace


class SyntheticSource:
    """A source of rendered circuit boards. Several designs take turns. The same seed gives the same boards.

    The boards pass by the clock, seen or not. If `shown` holds pictures that became parts before a restart, the
    clock goes on from the last of them, and boards that have passed since are not shown. The last board of all
    is always shown.
    """

    def __init__(self, section: recipe.Synthetic, shown: Sequence[EarlierPicture] = ()) -> None:
        self._section = section
        self._last = shown[-1] if shown else None
        self._truth: TextIO | None = None

    def __enter__(self) -> SyntheticSource:
        section = self._section
        self._designs = [design(number, section.height, section.width) for number in range(section.views)]
        self._frame: NDArray[np.uint8] | None = None
        if section.truth:
            try:
                self._truth = Path(section.truth).open("a" if self._last else "w")
            except OSError as error:
                raise SourceError(
                    f"{section.truth}: cannot write [source] truth: {error.strerror}: make its folder"
                ) from error
        last = self._last
        self._pace = Pace(section.fps, last.count, last.captured_ns) if last else Pace(section.fps)
        if section.parts and last:
            self._pace.count = max(last.count, min(self._pace.count, section.parts - 1))
        self._sequence = self._pace.count
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._truth:
            self._truth.close()

    def wait(self, timeout_s: float) -> Trigger | None:
        """Render the next board, and return its trigger when it is due. Return None after `timeout_s`."""
        sequence = self._sequence + 1
        if 0 < self._section.parts < sequence:
            raise SourceEnded(f"all {self._section.parts} boards have been shown")
        board = self._designs[(sequence - 1) % len(self._designs)]
        if self._frame is None:
            self._frame, self._defects = render(self._section, board, sequence)
        trigger = self._pace.wait(timeout_s, board.view)
        if trigger is None:
            return None
        self._sequence, self._shown, self._frame = sequence, self._frame, None
        if self._truth:
            what = {
                "sequence": sequence,
                "view": board.view,
                "good": not self._defects,
                "defects": self._defects,
            }
            print(json.dumps(what), file=self._truth, flush=True)
        return replace(trigger, count=sequence)

    def read(self, out: NDArray[np.uint8]) -> None:
        """Write the triggered picture into `out`, `(H, W)` or `(H, W, 3)` uint8; on failure raise PartError."""
        deliver(self._shown, out, f"board {self._sequence}")


def render(
    section: recipe.Synthetic | recipe.SimulatedBelt, board: Design, sequence: int
) -> tuple[NDArray[np.uint8], list[tuple[int, int, int, int, str]]]:
    """Return the picture and the defects of the board with the number `sequence`.

    The picture is `(H, W)` grey or Bayer, or `(H, W, 3)` BGR, uint8. A defect is x1, y1, x2, y2 and its kind.
    """
    rng = np.random.default_rng([3, section.seed, sequence])
    pose, art = BoardPose.any(rng), board.art
    boxes: list[Box] = []
    kinds: list[str] = []
    if rng.random() < section.defect_rate:
        art = art.copy()
        for kind in rng.choice(KINDS, rng.integers(1, 4)):
            box = add_defect(art, kind, rng, boxes)
            if box is not None:
                boxes.append(box)
                kinds.append(str(kind))
    frame = photograph(art, board, pose, rng, colour=section.color != "gray")
    if section.bayer:
        frame = mosaic(frame, section.bayer)
    matrix = pose.matrix(section.height, section.width)
    defects = [(*_moved(box, matrix), kind) for box, kind in zip(boxes, kinds, strict=True)]
    return frame, defects


def _moved(box: Box, matrix: NDArray[np.float64]) -> Box:
    """Return the smallest upright box around `box` after a `(2, 3)` matrix has moved its four corners."""
    corners = np.array([(x, y, 1) for x in box[::2] for y in box[1::2]]) @ matrix.T
    (x1, y1), (x2, y2) = corners.min(0).round().astype(int), corners.max(0).round().astype(int)
    return int(x1), int(y1), int(x2), int(y2)
