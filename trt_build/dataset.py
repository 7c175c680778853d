"""A folder of master/board pairs into pictures and defect boxes in memory.

The layout is DeepPCB's: `<id>_temp.*` is the master, `<id>_test.*` the board, and `<id>.txt` holds one
defect a line, `x1 y1 x2 y2 type`, with type 1..6 in the order of `KINDS`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge.errors import EdgeError

KINDS = ("open", "short", "mousebite", "spur", "copper", "pin-hole")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


class DatasetError(EdgeError, ValueError):
    """A folder of pairs that cannot be used as it is; names the file, and the line where there is one."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A master, a board of the same size, and what is wrong with the board."""

    name: str
    master: npt.NDArray[np.uint8]  # (H, W) grey
    board: npt.NDArray[np.uint8]  # (H, W) grey
    boxes: npt.NDArray[np.float32]  # (B, 4) left, top, right, bottom in pixels
    kinds: npt.NDArray[np.int64]  # (B,) index into KINDS


def read_pairs(folder: Path) -> list[Pair]:
    """All pairs of a folder, by name; raises `DatasetError` for the first thing that is wrong."""
    names = sorted(path.stem for path in folder.glob("*.txt"))
    if not names:
        raise DatasetError(f"{folder}: expected pairs <id>_temp.*, <id>_test.*, <id>.txt; found no .txt file")
    described = set(names)
    for path in sorted(folder.iterdir()):
        name, _, role = path.stem.rpartition("_")
        if path.suffix.lower() in PICTURES and role in ("temp", "test") and name not in described:
            raise DatasetError(f"{path}: has no {name}.txt beside it; a board without defects has an empty one")
    return [_read_pair(folder, name) for name in names]


def split(pairs: Sequence[Pair], *, held_out: float = 0.06, seed: int = 0) -> tuple[list[Pair], list[Pair]]:
    """Training pairs and held-out pairs; which is which depends on a pair's name and the seed alone."""
    train: list[Pair] = []
    kept: list[Pair] = []
    for pair in pairs:
        digest = hashlib.sha256(f"{seed}:{pair.name}".encode()).digest()
        chance = int.from_bytes(digest[:8], "big") / 2**64
        (kept if chance < held_out else train).append(pair)
    return train, kept


def read_boxes(path: Path, size: tuple[int, int]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Boxes `(B, 4)` and kinds `(B,)` of an annotation file, for a picture of `size` (height, width)."""
    height, width = size
    boxes: list[list[float]] = []
    kinds: list[int] = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            left, top, right, bottom, kind = (int(word) for word in line.replace(",", " ").split())
        except ValueError as error:
            raise DatasetError(
                f"{path}:{number}: expected five whole numbers x1 y1 x2 y2 type, found {line!r}"
            ) from error
        if not 1 <= kind <= len(KINDS):
            raise DatasetError(f"{path}:{number}: expected a type of 1..{len(KINDS)}, found {kind}")
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise DatasetError(
                f"{path}:{number}: expected x1 < x2 and y1 < y2 inside {width}x{height}, found {line!r}"
            )
        boxes.append([left, top, right, bottom])
        kinds.append(kind - 1)
    return np.array(boxes, np.float32).reshape(-1, 4), np.array(kinds, np.int64)


def _read_pair(folder: Path, name: str) -> Pair:
    master, board = _read_picture(folder, name, "temp"), _read_picture(folder, name, "test")
    if master.shape != board.shape:
        raise DatasetError(
            f"{folder / name}: the master is {master.shape}, the board {board.shape}; expected one size"
        )
    boxes, kinds = read_boxes(folder / f"{name}.txt", (board.shape[0], board.shape[1]))
    return Pair(name=name, master=master, board=board, boxes=boxes, kinds=kinds)


def _read_picture(folder: Path, name: str, role: str) -> npt.NDArray[np.uint8]:
    for suffix in PICTURES:
        path = folder / f"{name}_{role}{suffix}"
        if path.exists():
            picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            if picture is None:
                raise DatasetError(f"{path}: is not a picture that can be read")
            return np.asarray(picture, np.uint8)
    raise DatasetError(f"{folder / name}_{role}.*: expected a picture ({', '.join(PICTURES)}), found none")
