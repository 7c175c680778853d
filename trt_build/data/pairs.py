"""Reads a folder of pairs of master and board, in DeepPCB's layout, with boxes around the defects.

`<id>_temp.*` is the master and `<id>_test.*` the board. `<id>.txt` has a line `x1 y1 x2 y2 type` for each
defect. The type is a number from 1 to 6, in the order of `KINDS`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.image.picture import grey, one_channel
from edge.render.defects import KINDS
from edge.text import readable, text_of
from trt_build.data.errors import DatasetError, raise_mistakes, read_each
from trt_build.data.pictures import PICTURES, entries, is_picture, nested_files, read_picture, warn_left_out
from trt_build.data.shares import share_of

#: Files by their id and role. The role is `temp`, `test`, `txt`, or empty for any other file.
Files = dict[tuple[str, str], list[Path]]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A master, the picture of a board in the same size, and boxes around the board's defects."""

    name: str
    master: npt.NDArray[np.uint8]  # (H, W) grey
    board: npt.NDArray[np.uint8]  # (H, W) grey
    boxes: npt.NDArray[np.float32]  # (B, 4) left, top, right, bottom in pixels
    kinds: npt.NDArray[np.int64]  # (B,) index into KINDS


def read_pairs(folder: Path) -> list[Pair]:
    """Return all pairs in a folder, sorted by name. Raise one DatasetError with all mistakes in the folder."""
    files = _files(folder)
    names = [name for name, role in files if role == "txt"]
    if not names:
        raise DatasetError(f"{folder}: expected pairs <id>_temp.*, <id>_test.*, <id>.txt; found no .txt file")
    pairs, mistakes = read_each(lambda name: _read_pair(folder, files, name), names)
    raise_mistakes([*_misplaced(folder, files), *mistakes])
    return pairs


def split(pairs: Sequence[Pair], *, held_out: float = 0.06, seed: int = 0) -> tuple[list[Pair], list[Pair]]:
    """Split off the share `held_out` of the pairs. Return the training pairs and the held-out pairs."""
    train: list[Pair] = []
    kept: list[Pair] = []
    for pair in pairs:
        (kept if share_of(pair.name, seed) < held_out else train).append(pair)
    return train, kept


def read_boxes(path: Path, size: tuple[int, int]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return the boxes, `(B, 4)`, and their kinds, `(B,)` indices into KINDS, in an annotation file.

    A box is left, top, right and bottom in pixels. `size` is the picture's height and width. Raise DatasetError
    if a line is wrong.
    """
    try:
        lines = text_of(path.read_bytes()).splitlines()
    except ValueError as error:
        raise DatasetError(f"{path}: {error}") from error
    numbered = [(f"{path}:{number}", line) for number, line in enumerate(lines, start=1) if line.strip()]
    boxes, mistakes = read_each(lambda line: _box(line[0], line[1], size), numbered)
    raise_mistakes(mistakes)
    table = np.array(boxes, np.float32).reshape(-1, 5)
    return table[:, :4], table[:, 4].astype(np.int64) - 1


def _box(where: str, line: str, size: tuple[int, int]) -> list[int]:
    """Return left, top, right, bottom and type (1 to 6) from a line. `where` names the line in errors."""
    height, width = size
    try:
        left, top, right, bottom, kind = (int(word) for word in line.replace(",", " ").split())
    except ValueError as error:
        raise DatasetError(f"{where}: expected five whole numbers x1 y1 x2 y2 type, found {line!r}") from error
    if not 1 <= kind <= len(KINDS):
        raise DatasetError(f"{where}: expected a type of 1..{len(KINDS)}, found {kind}")
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise DatasetError(f"{where}: expected x1 < x2 and y1 < y2 inside {width}x{height}, found {line!r}")
    return [left, top, right, bottom, kind]


def _files(folder: Path) -> Files:
    """Return the paths of all files in the folder, by their id and role: `temp`, `test`, `txt`, or empty."""
    files: Files = {}
    for path in entries(folder):
        name, _, role = path.stem.rpartition("_")
        if path.suffix.lower() == ".txt":
            name, role = path.stem, "txt"
        elif role not in ("temp", "test") or not is_picture(path):
            name, role = path.stem, ""
        files.setdefault((name, role), []).append(path)
    return files


def _misplaced(folder: Path, files: Files) -> Iterator[str]:
    """Yield a message for each picture that belongs to no pair or is in an inner folder."""
    yield from nested_files(folder)
    for (name, role), paths in files.items():
        if not role:
            continue
        if (name, "txt") not in files:
            yield f"{paths[0]}: has no {name}.txt beside it; a board without defects has an empty one"
        for other in paths[1:]:
            yield f"{other}: {paths[0].name} is of the same name: rename one of them, or take it out"
    others = [path for (_, role), paths in files.items() if not role for path in paths if path.is_file()]
    for path in filter(is_picture, others):
        yield f"{path}: expected <id>_temp or <id>_test as its name: rename it, or take it out"
    warn_left_out([path for path in others if not is_picture(path)], "since OpenCV finds no picture in them")


def _read_pair(folder: Path, files: Files, name: str) -> Pair:
    """Return the pair with the id `name`. Raise DatasetError if a picture is missing or the sizes differ."""
    pictures, mistakes = read_each(lambda role: _grey_picture(folder, files, name, role), ("temp", "test"))
    raise_mistakes(mistakes)
    master, board = pictures
    if master.shape != board.shape:
        raise DatasetError(
            f"{folder / name}: the master is {master.shape}, the board {board.shape}; expected one size"
        )
    boxes, kinds = read_boxes(files[name, "txt"][0], (board.shape[0], board.shape[1]))
    return Pair(name=readable(name), master=master, board=board, boxes=boxes, kinds=kinds)


def _grey_picture(folder: Path, files: Files, name: str, role: str) -> npt.NDArray[np.uint8]:
    """Return a pair's master (role `temp`) or board (role `test`) as `(H, W)` uint8 grey."""
    if (name, role) not in files:
        raise DatasetError(f"{folder / name}_{role}.*: expected a picture ({', '.join(PICTURES)}), found none")
    path = files[name, role][0]
    return grey(one_channel(read_picture(path)))
