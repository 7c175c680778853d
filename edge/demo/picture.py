"""Draws judged boards into one picture, each board with its regions of defects and, under it, its verdict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from ..errors import LineError
from ..image.labels import Marked, draw_marked
from ..image.picture import demosaiced
from ..messages import Region, Verdict
from ..recipe import Synthetic
from ..sources import open_source

#: Boards in a row, and the width of one in pixels.
COLUMNS, WIDTH = 3, 420
MARGIN, CAPTION = 6, 28
WHITE, FONT = (255, 255, 255), cv2.FONT_HERSHEY_SIMPLEX
#: BGR.
COLOR = {"pass": (80, 170, 60), "reject": (60, 60, 220), "unknown": (40, 170, 220)}


def draw_boards(verdicts: Sequence[Verdict], source: Synthetic, path: Path) -> None:
    """Write a .png or .jpg of up to five boards that did not pass, most regions first, and one that passed.

    The boards are rendered again from the same seed, which gives the same boards. Raises LineError if no board
    was judged or if the file cannot be written.
    """
    told = sorted((v for v in verdicts if v.verdict != "pass"), key=lambda v: (-len(v.regions), v.sequence))
    chosen = told[: 2 * COLUMNS - 1] + [v for v in verdicts if v.verdict == "pass"][:1]
    if not chosen:
        raise LineError(f"{path}: no board was judged, so there is no picture")
    frames = frames_of(source, {verdict.sequence for verdict in chosen})
    tiles = [_tile(frames[verdict.sequence], verdict) for verdict in chosen]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % COLUMNS)
    rows = [np.hstack(tiles[i : i + COLUMNS]) for i in range(0, len(tiles), COLUMNS)]
    if not cv2.imwrite(str(path), np.vstack(rows)):
        raise LineError(f"{path}: cannot write the picture: is it a .png or .jpg in a folder that exists?")


def frames_of(source: Synthetic, wanted: set[int]) -> dict[int, NDArray[np.uint8]]:
    """Return the frames with the sequence numbers in `wanted`, as `(H, W)` grey or `(H, W, 3)` BGR uint8."""
    frame = np.empty(source.shape, np.uint8)
    found = {}
    with open_source(msgspec.structs.replace(source, fps=10_000.0, truth="")) as boards:
        for sequence in range(1, max(wanted) + 1):
            while boards.wait(1.0) is None:
                pass
            boards.read(frame)
            if sequence in wanted:
                found[sequence] = demosaiced(frame, source.bayer) if source.bayer else frame.copy()
    return found


def _tile(frame: NDArray[np.uint8], verdict: Verdict) -> NDArray[np.uint8]:
    """Return a frame, `(H, W)` or `(H, W, 3)` uint8, with regions and caption, as `(h, w, 3)` BGR uint8."""
    scale = WIDTH / frame.shape[1]
    small = np.asarray(cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    picture = np.asarray(cv2.cvtColor(small, cv2.COLOR_GRAY2BGR), np.uint8) if small.ndim == 2 else small
    color = COLOR[verdict.verdict]
    marked = [
        Marked(box=_scaled(region, scale), text=f"{region.kind} {region.score:.2f}", color=color)
        for region in verdict.regions
    ]
    draw_marked(picture, marked)
    caption = f"part {verdict.part_id}: {verdict.verdict}, {verdict.latency_us['total'] / 1000:.1f} ms"
    tile = cv2.copyMakeBorder(picture, MARGIN, CAPTION, MARGIN, MARGIN, cv2.BORDER_CONSTANT, value=WHITE)
    place = (MARGIN, tile.shape[0] - 9)
    return np.asarray(cv2.putText(tile, caption, place, FONT, 0.55, color, 1, cv2.LINE_AA), np.uint8)


def _scaled(region: Region, scale: float) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the region in pixels of the scaled picture."""
    sides = (region.x, region.y, region.x + region.w, region.y + region.h)
    left, top, right, bottom = (round(scale * side) for side in sides)
    return left, top, right, bottom
