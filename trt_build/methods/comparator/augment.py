"""Makes training pictures: crops a master and its board at random, and changes position, light and noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from edge.render.defects import KINDS
from trt_build.data.marks import boxes_of_mask
from trt_build.data.pairs import Pair
from trt_build.methods.comparator.painted import add_defects
from trt_build.methods.comparator.pasted import add_unnamed

Picture = npt.NDArray[np.uint8]

#: The kinds after copper and bare board have changed places: an open becomes a short, and so on.
OPPOSITE = np.array([KINDS.index(k) for k in ("short", "open", "spur", "mousebite", "pin-hole", "copper")])


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How much a training picture may change. The default values are for a camera's pictures of bare boards.

    `clean`, `invert`, `paint`, `grey`, `jpeg` and `noise` are probabilities. `BLACK_AND_WHITE` has the values
    for scans of boards with two levels, and `PARTS` those for anything that is no board.
    """

    size_px: int = 320
    scale: tuple[float, float] = (0.8, 1.25)
    shift_px: float = 2.5  # shift and rotation between master and board, in addition to those of the pair
    turn_deg: float = 0.25
    margin_px: float = 10.0  # margin of a box around its defect; the margin does not scale
    clean: float = 0.15  # the board is the master itself
    invert: float = 0.0  # light and dark change places, and the kinds with them
    paint: float = 0.0  # more defects are painted on the board
    painted: Literal["boards", "unnamed"] = "boards"  # boards: the kinds of boards, whose copper must be dark
    grey: float = 1.0  # the picture keeps its grey levels; otherwise it becomes black and white
    jpeg: float = 0.3
    noise: float = 0.25
    dark: tuple[float, float] = (0.0, 60.0)  # what becomes of the grey levels 0 and 255
    bright: tuple[float, float] = (180.0, 255.0)
    tint: float = 0.0  # largest change of a colour's levels against the other colours, as a share


#: For DeepPCB: black copper and white board, with other levels from compression only.
BLACK_AND_WHITE = Augmentation(invert=0.25, paint=0.5, grey=0.25, jpeg=0.7)
#: For parts in a steady light, where a change of colour may be a defect.
PARTS = Augmentation(margin_px=0.0, painted="unnamed", dark=(0.0, 15.0), bright=(235.0, 255.0), tint=0.015)


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A crop of a master and of its board, and the defects on the board."""

    master: Picture  # (size, size) grey or (size, size, 3) BGR
    board: Picture  # like the master
    boxes: npt.NDArray[np.float32]  # (B, 4) left, top, right, bottom in pixels
    kinds: npt.NDArray[np.int64]  # (B,)
    mask: Picture | None  # (size, size): 0 at good pixels, else 1 + the kind's index; None without masks


def augmentation_for(pairs: Sequence[Pair], kinds: Sequence[str]) -> Augmentation:
    """Return how pairs with defects of these kinds are varied.

    If the kinds are those of boards, return `BLACK_AND_WHITE` if the masters have hardly any grey pixels, and
    otherwise the defaults. For other kinds, return `PARTS`; if there is only one, more defects are painted.
    """
    if tuple(kinds) != KINDS:
        shortest = min(min(pair.board.shape[:2]) for pair in pairs)
        size_px = min(PARTS.size_px, shortest)
        return replace(PARTS, size_px=size_px, paint=0.5 if len(kinds) == 1 else 0.0)
    if any(pair.master.ndim == 3 for pair in pairs):
        return Augmentation()
    between = np.mean([np.mean((pair.master[::8, ::8] > 40) & (pair.master[::8, ::8] < 215)) for pair in pairs])
    return BLACK_AND_WHITE if between < 0.02 else Augmentation()


def augment(pair: Pair, how: Augmentation, rng: np.random.Generator) -> Crop:
    """Return a random crop of the master and of the board. `how` says how much the pictures may change."""
    board, boxes, kinds, mask = pair.board, pair.boxes, pair.kinds, pair.mask
    if rng.random() < how.clean:
        board, boxes, kinds = pair.master, boxes[:0], kinds[:0]
        mask = None if mask is None else np.zeros_like(mask)
    if rng.random() < how.paint:
        if how.painted == "boards":
            board, boxes, kinds = add_defects(board, boxes, kinds, how.margin_px, rng)
        else:
            board, changed = add_unnamed(board, rng)
            more = np.array(boxes_of_mask(changed), np.float32).reshape(-1, 4)
            boxes, kinds = np.concatenate((boxes, more)), np.append(kinds, np.zeros(len(more), np.int64))
            mask = None if mask is None else np.where(changed, np.uint8(1), mask)
    place = _placement(boxes, board.shape, how, rng)
    master = _warp(pair.master, _nudged(place, how, rng), how.size_px)
    board = _warp(board, place, how.size_px)
    boxes, kinds = _placed(boxes, kinds, place, how)
    if rng.random() < how.invert:
        master, board, kinds = 255 - master, 255 - board, OPPOSITE[kinds]
    soft = rng.random() < how.grey
    return Crop(
        master=_photographed(master, soft, how, rng),
        board=_photographed(board, soft, how, rng),
        boxes=boxes,
        kinds=kinds,
        mask=None if mask is None else _warp(mask, place, how.size_px, smooth=False),
    )


def _placement(
    boxes: npt.NDArray[np.float32], shape: tuple[int, ...], how: Augmentation, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return the 3x3 matrix that maps a picture to a crop, with random scale, mirroring and position."""
    height, width = shape[:2]
    scale = float(np.exp(rng.uniform(*np.log(how.scale))))
    reach = how.size_px / scale / 2
    x, y = rng.uniform(0, width), rng.uniform(0, height)
    if len(boxes) and rng.random() < 0.7:
        left, top, right, bottom = boxes[rng.integers(len(boxes))]
        x = (left + right) / 2 + rng.uniform(-0.8, 0.8) * reach
        y = (top + bottom) / 2 + rng.uniform(-0.8, 0.8) * reach
    x = min(max(x, reach), width - reach) if width > 2 * reach else width / 2
    y = min(max(y, reach), height - reach) if height > 2 * reach else height / 2
    matrix = np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1]], np.float64)
    symmetry = np.diag([rng.choice((-1.0, 1.0)), rng.choice((-1.0, 1.0)), 1.0])
    if rng.random() < 0.5:
        symmetry = symmetry @ np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1.0]])
    middle = how.size_px / 2
    back = np.array([[scale, 0, middle], [0, scale, middle], [0, 0, 1.0]])
    return back @ symmetry @ matrix


def _nudged(
    place: npt.NDArray[np.float64], how: Augmentation, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return the 3x3 matrix `place` with a small random shift and rotation, as of a board on a jig."""
    angle = np.deg2rad(rng.uniform(-how.turn_deg, how.turn_deg))
    middle = how.size_px / 2
    centred = np.array([[1, 0, -middle], [0, 1, -middle], [0, 0, 1]])
    turned = np.array(
        [[np.cos(angle), -np.sin(angle), middle], [np.sin(angle), np.cos(angle), middle], [0, 0, 1]]
    )
    turned[:2, 2] += rng.uniform(-how.shift_px, how.shift_px, 2)
    nudged: npt.NDArray[np.float64] = turned @ centred @ place
    return nudged


def _warp(picture: Picture, place: npt.NDArray[np.float64], size: int, *, smooth: bool = True) -> Picture:
    """Return a crop of a picture or mask with sides of `size` pixels. `place` is the 3x3 matrix to the crop.

    Unless `smooth`, each pixel is a copy of the nearest one.
    """
    # Pixel centres are at half pixels in `place`, but at whole pixels in OpenCV.
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    matrix = np.linalg.inv(half) @ place @ half
    flags = cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST
    warped = cv2.warpAffine(picture, matrix[:2], (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.uint8)


def _placed(
    boxes: npt.NDArray[np.float32],
    kinds: npt.NDArray[np.int64],
    place: npt.NDArray[np.float64],
    how: Augmentation,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return the boxes `(B, 4)` and kinds `(B,)` of the crop. Defects that are mostly outside are left out."""
    if not len(boxes):
        return boxes, kinds
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    half = np.maximum(half - how.margin_px, 1.0) @ np.abs(place[:2, :2].T)
    middle = middle @ place[:2, :2].T + place[:2, 2]
    core = np.concatenate((middle - half, middle + half), axis=1)
    inside = np.clip(core, 0, how.size_px)
    left = np.prod(inside[:, 2:] - inside[:, :2], axis=1) / np.prod(core[:, 2:] - core[:, :2], axis=1)
    grown = np.concatenate((inside[:, :2] - how.margin_px, inside[:, 2:] + how.margin_px), axis=1)
    keep = left > 0.4
    return np.clip(grown, 0, how.size_px)[keep].astype(np.float32), kinds[keep]


def _photographed(picture: Picture, soft: bool, how: Augmentation, rng: np.random.Generator) -> Picture:
    """Return the picture with other light and blur if `soft`, else in black and white, in the same shape."""
    if soft:
        if rng.random() < 0.5:
            picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.2)), np.uint8)
        dark, bright = rng.uniform(*how.dark), rng.uniform(*how.bright)
        levels = dark + np.arange(256) * ((bright - dark) / 255)
        if picture.ndim == 3:
            levels = np.minimum(levels[:, None, None] * rng.uniform(1 - how.tint, 1 + how.tint, 3), 255)
        picture = np.asarray(cv2.LUT(picture, levels.astype(np.uint8)), np.uint8)
    else:
        picture = np.where(picture > rng.uniform(90, 165), np.uint8(255), np.uint8(0))
    if rng.random() < how.noise:
        cv2.setRNGSeed(int(rng.integers(2**31)))
        channels = 1 if picture.ndim == 2 else 3
        deviation = np.full(channels, rng.uniform(1, 10))
        grain = cv2.randn(np.empty(picture.shape, np.int16), np.zeros(channels), deviation)
        picture = np.asarray(cv2.add(picture, grain, dtype=cv2.CV_8U), np.uint8)
    if rng.random() < how.jpeg:
        _, packed = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(65, 99))])
        picture = np.asarray(cv2.imdecode(packed, cv2.IMREAD_UNCHANGED), np.uint8)
    return picture
