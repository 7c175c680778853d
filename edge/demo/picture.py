"""Draws boards as the line judged them: every region where the verdict says it is, and the verdict below."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from ..errors import LineError
from ..messages import Verdict
from ..recipe import Synthetic
from ..sources import open_source

COLUMNS = 3
MARGIN, CAPTION = 8, 34
COLOR = {"pass": (80, 170, 60), "reject": (60, 60, 220), "unknown": (40, 170, 220)}  # BGR


def draw_boards(verdicts: Sequence[Verdict], source: Synthetic, path: Path) -> None:
    """Write a PNG of up to six judged boards, first those with most to see; one good one among them.

    The boards are rendered again: the source gives the same ones for the same seed.
    """
    told = sorted((v for v in verdicts if v.verdict != "pass"), key=lambda v: (-len(v.regions), v.sequence))
    chosen = told[: 2 * COLUMNS - 1] + [v for v in verdicts if v.verdict == "pass"][:1]
    if not chosen:
        raise LineError(f"{path}: no board was judged, so there is no picture")
    frames = _frames(source, {verdict.sequence for verdict in chosen})
    tiles = [_tile(frames[verdict.sequence], verdict) for verdict in chosen]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % COLUMNS)
    rows = [np.hstack(tiles[i : i + COLUMNS]) for i in range(0, len(tiles), COLUMNS)]
    if not cv2.imwrite(str(path), np.vstack(rows)):
        raise LineError(f"{path}: cannot write the picture: is it a .png in a folder that exists?")


def _frames(source: Synthetic, wanted: set[int]) -> dict[int, NDArray[np.uint8]]:
    """The frames with these sequence numbers."""
    frame = np.empty(source.shape, np.uint8)
    found = {}
    with open_source(msgspec.structs.replace(source, fps=10_000.0, truth="")) as boards:
        for sequence in range(1, max(wanted) + 1):
            while boards.wait(1.0) is None:
                pass
            boards.read(frame)
            if sequence in wanted:
                found[sequence] = frame.copy()
    return found


def _tile(frame: NDArray[np.uint8], verdict: Verdict) -> NDArray[np.uint8]:
    picture = cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR) if frame.ndim == 2 else frame.copy()
    color = COLOR[verdict.verdict]
    for region in verdict.regions:
        corner = (round(region.x), round(region.y))
        cv2.rectangle(picture, corner, (round(region.x + region.w), round(region.y + region.h)), color, 2)
        name = (corner[0], corner[1] - 6 if corner[1] > 20 else round(region.y + region.h) + 16)
        cv2.putText(
            picture, f"{region.kind} {region.score:.2f}", name, cv2.FONT_HERSHEY_SIMPLEX, 0.55, color, 2
        )
    caption = f"part {verdict.part_id}: {verdict.verdict}, {verdict.latency_us['total'] / 1000:.1f} ms"
    tile = cv2.copyMakeBorder(
        picture, MARGIN, CAPTION, MARGIN, MARGIN, cv2.BORDER_CONSTANT, value=(255, 255, 255)
    )
    place = (MARGIN, tile.shape[0] - 10)
    return np.asarray(cv2.putText(tile, caption, place, cv2.FONT_HERSHEY_SIMPLEX, 0.7, color, 2), np.uint8)
