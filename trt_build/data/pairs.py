"""Reads a folder of pairs of master and board, with boxes around the defects or with masks of them.

    <id>_temp.*           the master, without a defect
    <id>_test.*           the board, in the same size
    <id>.txt              boxes: a line `x1 y1 x2 y2 type` for each defect, in pixels; empty for a good board
    <id>_mask.png         or a mask: not black at the defects; all defects are then of one kind, `defect`
    <kind>/<id>_mask.png  or masks in folders that name the kind
    kinds.txt             names of all kinds, one a line; may be missing

A type is the number of a kind, 1 for the first, or its name. Without `kinds.txt`, numbers are those of
DeepPCB's six kinds, and names and folders are the kinds, sorted. A good board has an empty text file or a
black mask. All pictures become grey unless more than half of them have colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, overload

import cv2
import numpy as np
import numpy.typing as npt

from edge.image.picture import grey, one_channel
from edge.image.warp import Warper
from edge.manifest import InputSpec
from edge.text import readable
from trt_build.data.errors import DatasetError, raise_mistakes, read_each
from trt_build.data.marks import Marks, kinds_in, read_marks, unusable
from trt_build.data.pair_files import Files, find_files, labels_of, listed_kinds, misplaced, names_of
from trt_build.data.pictures import PICTURES, read_picture
from trt_build.data.shares import share_of

Picture = npt.NDArray[np.uint8]
#: Share of the pairs that is not trained with. Sets with masks are usually small, so more of them is kept.
HELD_OUT = {"boxes": 0.06, "masks": 0.15}


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A master, the picture of a board in the same size, and the board's defects as boxes and as a mask."""

    name: str
    master: Picture  # (H, W) grey or (H, W, 3) BGR
    board: Picture  # like the master
    boxes: npt.NDArray[np.float32]  # (B, 4) left, top, right, bottom in pixels
    kinds: npt.NDArray[np.int64]  # (B,) index into the kinds of the set
    mask: Picture | None = None  # (H, W): 0 at good pixels, else 1 + the kind's index; None with boxes

    @property
    def is_good(self) -> bool:
        """True if the board has no defect."""
        return not len(self.kinds)


@dataclass(frozen=True, kw_only=True)
class PairSet(Sequence[Pair]):
    """The pairs of a folder, all grey or all in colours, and the names of the kinds of their defects."""

    pairs: tuple[Pair, ...]
    kinds: tuple[str, ...]

    @property
    def color(self) -> Literal["gray", "bgr"]:
        """The colour of all pictures."""
        return "gray" if self.pairs[0].board.ndim == 2 else "bgr"

    @property
    def labels(self) -> Literal["boxes", "masks"]:
        """What is known of each defect: its box, or its pixels too."""
        return "boxes" if self.pairs[0].mask is None else "masks"

    def __len__(self) -> int:
        return len(self.pairs)

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Pair, ...]: ...
    def __getitem__(self, index: int | slice) -> Pair | tuple[Pair, ...]:
        return self.pairs[index]


def read_pairs(folder: Path, kinds: Sequence[str] | None = None) -> PairSet:
    """Return all pairs in a folder, sorted by name. Raise one DatasetError with all mistakes in the folder.

    `kinds` are those of a model; a defect of any other kind is then a mistake. Without `kinds`, the folder says
    which kinds there are.
    """
    listed = listed_kinds(folder)
    files = find_files(folder)
    names = sorted(names_of(files))
    if not names:
        raise DatasetError(
            f"{folder}: expected pairs <id>_temp.*, <id>_test.* and a label, <id>.txt or <id>_mask.png; found "
            "none"
        )
    read, mistakes = read_each(lambda name: _read_pair(folder, files, name, listed), names)
    raise_mistakes([*misplaced(folder, files), *mistakes])
    marks = [marks for _, _, marks in read]
    known = tuple(kinds or listed or kinds_in(marks))
    raise_mistakes(unusable(marks, known))
    has_masks = any(one.masks is not None for one in marks)
    # A single picture with a coloured mark does not make a set of grey ones coloured.
    coloured = np.mean([picture.ndim == 3 for _, pictures, _ in read for picture in pictures]) > 0.5
    return PairSet(
        pairs=tuple(
            _pair(name, pictures, one, known, has_masks, bool(coloured)) for name, pictures, one in read
        ),
        kinds=known,
    )


def split(
    pairs: Sequence[Pair], *, held_out: float | None = None, seed: int = 0
) -> tuple[list[Pair], list[Pair]]:
    """Split off the share `held_out` of the pairs. Return the training pairs and the held-out pairs.

    The share is HELD_OUT if it is not given.
    """
    train: list[Pair] = []
    kept: list[Pair] = []
    for pair in pairs:
        share = HELD_OUT["boxes" if pair.mask is None else "masks"] if held_out is None else held_out
        (kept if share_of(pair.name, seed) < share else train).append(pair)
    return train, kept


def fitted(pair: Pair, spec: InputSpec) -> Pair:
    """Return a pair in the size and colour of a model's input, scaled as a line scales its frames."""
    height, width = pair.board.shape[:2]
    if (height, width) == (spec.height, spec.width) and pair.board.ndim == (2 if spec.channels == 1 else 3):
        return pair
    x, y = spec.width / width, spec.height / height
    size = (spec.width, spec.height)
    return Pair(
        name=pair.name,
        master=_scaled(pair.master, spec),
        board=_scaled(pair.board, spec),
        boxes=pair.boxes * np.array([x, y, x, y], np.float32),
        kinds=pair.kinds,
        mask=None
        if pair.mask is None
        else np.asarray(cv2.resize(pair.mask, size, interpolation=cv2.INTER_NEAREST_EXACT), np.uint8),
    )


def _scaled(picture: Picture, spec: InputSpec) -> Picture:
    """Return a picture as the model's input, but `(H, W)` grey or `(H, W, 3)` BGR."""
    out = np.empty(spec.shape, np.uint8)
    Warper(None, spec).warp(picture.shape).apply(picture, out)
    return out[0, 0] if spec.channels == 1 else np.ascontiguousarray(np.moveaxis(out[0], 0, -1))


def _read_pair(
    folder: Path, files: Files, name: str, listed: Sequence[str] | None
) -> tuple[str, list[Picture], Marks]:
    """Return a pair's name, its master and board, and the board's defects."""
    pictures, mistakes = read_each(lambda role: _picture(folder, files, name, role), ("temp", "test"))
    raise_mistakes(mistakes)
    master, board = pictures
    if master.shape[:2] != board.shape[:2]:
        raise DatasetError(
            f"{folder / name}: the master is {master.shape[:2]}, the board {board.shape[:2]}; expected one size"
        )
    marks = read_marks(labels_of(files, name), (board.shape[0], board.shape[1]), listed)
    return readable(name), pictures, marks


def _picture(folder: Path, files: Files, name: str, role: str) -> Picture:
    """Return a pair's master (role `temp`) or board (role `test`), `(H, W)` grey or `(H, W, 3)` BGR uint8."""
    if (name, role) not in files:
        raise DatasetError(f"{folder / name}_{role}.*: expected a picture ({', '.join(PICTURES)}), found none")
    return np.asarray(one_channel(read_picture(files[name, role][0])), np.uint8)


def _pair(
    name: str,
    pictures: Sequence[Picture],
    marks: Marks,
    kinds: Sequence[str],
    has_masks: bool,
    coloured: bool,
) -> Pair:
    """Make a pair from what was read. `kinds` are those of the set, which may have masks or colours."""
    master, board = (in_colour(picture) if coloured else grey(picture) for picture in pictures)
    mask = np.zeros(board.shape[:2], np.uint8) if has_masks else None
    for kind, where in (marks.masks or {}).items():
        assert mask is not None
        mask[where] = 1 + kinds.index(kind)
    return Pair(
        name=name,
        master=master,
        board=board,
        boxes=np.array([mark.box for mark in marks.marks], np.float32).reshape(-1, 4),
        kinds=np.array([kinds.index(mark.kind) for mark in marks.marks], np.int64),
        mask=mask,
    )


def in_colour(picture: Picture) -> Picture:
    """Return a picture, `(H, W)` grey or `(H, W, 3)` BGR uint8, as BGR."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR), np.uint8) if picture.ndim == 2 else picture
