"""Reads the defects that are marked on one board: boxes in a text file, or masks, each with its kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge.render.defects import KINDS
from edge.text import text_of
from trt_build.data.errors import DatasetError, raise_mistakes, read_each
from trt_build.data.pair_files import KINDS_FILE
from trt_build.data.pictures import read_picture

#: The kind of all defects in masks that do not name one.
UNNAMED = "defect"
#: A mask has a byte for each pixel.
MOST_KINDS = 255
#: Files whose pixels are not kept as they were.
_LOSSY = (".jpg", ".jpeg", ".jfif", ".webp")


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One defect: its box in pixels, its kind, and the place in a file that says so."""

    box: tuple[float, float, float, float]  # left, top, right, bottom
    kind: str
    where: str
    is_number: bool = False  # the file has the kind's number and not its name


@dataclass(frozen=True, kw_only=True)
class Marks:
    """All defects of one board. With masks, each defect's pixels are known too."""

    marks: tuple[Mark, ...]
    #: Kind -> `(H, W)` bool, True at its defects. None if the label has boxes.
    masks: Mapping[str, npt.NDArray[np.bool_]] | None = None
    #: Kinds that folders of masks name, even if the masks are black.
    folders: frozenset[str] = field(default_factory=frozenset)


def read_marks(labels: Mapping[str, Path], size: tuple[int, int], listed: Sequence[str] | None) -> Marks:
    """Return what the label files of one board mark. `size` is the board's height and width.

    The keys of `labels` are `txt`, `mask` or `mask/<kind>`. `listed` are the names in `kinds.txt`, or None.
    Raise DatasetError, which names the file, if a label is wrong.
    """
    if "txt" in labels and len(labels) > 1:
        other = next(path for role, path in labels.items() if role != "txt")
        raise DatasetError(f"{labels['txt']}: {other} labels the same board: delete one of the two labels")
    if "txt" in labels:
        return Marks(marks=tuple(_read_boxes(labels["txt"], size, listed)))
    read, mistakes = read_each(
        lambda role: (_kind_of(role, listed), labels[role], _read_mask(labels[role], size)), labels
    )
    raise_mistakes(mistakes)
    return Marks(
        marks=tuple(
            Mark(box=b, kind=kind, where=str(path)) for kind, path, mask in read for b in boxes_of_mask(mask)
        ),
        masks={kind: mask for kind, _, mask in read if mask.any()},
        folders=frozenset(role.partition("/")[2] for role in labels if "/" in role),
    )


def kinds_in(boards: Sequence[Marks]) -> tuple[str, ...]:
    """Return the kinds of defects of a folder without `kinds.txt`.

    They are DeepPCB's six if the boards show no others, and otherwise those that labels and folders name,
    sorted. Raise DatasetError if some labels name kinds and others do not.
    """
    marks = [mark for board in boards for mark in board.marks]
    used = {mark.kind for mark in marks}
    if any(board.masks is not None for board in boards):
        folders = set().union(*(board.folders for board in boards))
        raise_mistakes(
            f"{mark.where}: the mask names no kind, and others do: move it into the folder of its kind"
            for mark in marks
            if folders and mark.kind not in folders
        )
        return tuple(sorted(folders)) or (UNNAMED,)
    if used <= set(KINDS):
        return KINDS
    raise_mistakes(
        f"{mark.where}: gives its kind by number, and others by name: list the kinds in kinds.txt"
        for mark in marks
        if mark.is_number
    )
    return tuple(sorted(used))


def unusable(boards: Sequence[Marks], kinds: Sequence[str]) -> Iterator[str]:
    """Yield a message if boxes and masks are mixed, and for each defect whose kind is not in `kinds`."""
    boxes = [mark for board in boards if board.masks is None for mark in board.marks]
    if boxes and any(board.masks is not None for board in boards):
        yield f"{boxes[0].where}: a box, and other boards have masks: label all boards with one of them"
    if len(kinds) > MOST_KINDS:
        yield f"{KINDS_FILE}: expected at most {MOST_KINDS} kinds, found {len(kinds)}: put some together"
    for board in boards:
        for mark in board.marks:
            if mark.kind not in kinds:
                yield (
                    f"{mark.where}: of the kind {mark.kind!r}, expected one of {', '.join(kinds)}: correct the "
                    f"label, or give this folder the {KINDS_FILE} of the pairs that were trained with"
                )


def boxes_of_mask(mask: npt.NDArray[np.bool_]) -> list[tuple[float, float, float, float]]:
    """Return left, top, right and bottom in pixels of each 8-connected region in a mask `(H, W)` bool."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return [(float(x), float(y), float(x + w), float(y + h)) for x, y, w, h, _ in stats[1:].tolist()]


def _kind_of(role: str, listed: Sequence[str] | None) -> str:
    """Return the kind that a role `mask/<kind>` names. For `mask`, return the only listed kind, or UNNAMED."""
    only = listed[0] if listed and len(listed) == 1 else UNNAMED
    return role.partition("/")[2] or only


def _read_mask(path: Path, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return a mask as `(H, W)` bool, True where it is not black."""
    if path.suffix.lower() in _LOSSY:
        raise DatasetError(f"{path}: expected a mask in a format that keeps its pixels: save it as PNG")
    picture = read_picture(path)
    if picture.shape[:2] != size:
        raise DatasetError(
            f"{path}: the mask is {picture.shape[1]}x{picture.shape[0]}, its board {size[1]}x{size[0]}: "
            "expected one size: draw the mask on the board's picture"
        )
    return np.asarray(picture.reshape(*size, -1).any(axis=2))


def _read_boxes(path: Path, size: tuple[int, int], listed: Sequence[str] | None) -> list[Mark]:
    """Return the defects in an annotation file with lines `x1 y1 x2 y2 type`."""
    try:
        lines = text_of(path.read_bytes()).splitlines()
    except ValueError as error:
        raise DatasetError(f"{path}: {error}") from error
    numbered = [(f"{path}:{number}", line) for number, line in enumerate(lines, start=1) if line.strip()]
    boxes, mistakes = read_each(lambda line: _box(line[0], line[1], size, listed), numbered)
    raise_mistakes(mistakes)
    return boxes


def _box(where: str, line: str, size: tuple[int, int], listed: Sequence[str] | None) -> Mark:
    """Return the defect in a line `x1 y1 x2 y2 type`. `where` names the line in errors."""
    height, width = size
    try:
        *sides, kind = line.replace(",", " ").split()
        left, top, right, bottom = map(int, sides)
    except ValueError as error:
        raise DatasetError(
            f"{where}: expected x1 y1 x2 y2 type, four whole numbers and a kind, found {line!r}"
        ) from error
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise DatasetError(f"{where}: expected x1 < x2 and y1 < y2 inside {width}x{height}, found {line!r}")
    name, is_number = _named(where, kind, listed)
    return Mark(box=(left, top, right, bottom), kind=name, where=where, is_number=is_number)


def _named(where: str, kind: str, listed: Sequence[str] | None) -> tuple[str, bool]:
    """Return the name of a kind that a line gives by name or number, and whether it is a number."""
    names = KINDS if listed is None else listed
    try:
        number = float(kind)
    except ValueError:
        if listed is None or kind in listed:
            return kind, False
        raise DatasetError(
            f"{where}: expected one of the kinds in kinds.txt ({', '.join(listed)}), found {kind!r}: "
            "correct the name, or add it to kinds.txt"
        ) from None
    if number not in range(1, len(names) + 1):
        advice = (
            "correct it, or add the kind to kinds.txt" if listed else "for other kinds, list them in kinds.txt"
        )
        raise DatasetError(f"{where}: expected a type of 1..{len(names)}, found {kind}: {advice}")
    return names[int(number) - 1], True
