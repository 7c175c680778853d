"""Makes training pictures: crops a master and its board at random, and changes position, light and noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge.render.defects import KINDS
from trt_build.data.pairs import Pair
from trt_build.methods.comparator.painted import add_defects

#: The kinds after copper and bare board have changed places: an open becomes a short, and so on.
OPPOSITE = np.array([KINDS.index(k) for k in ("short", "open", "spur", "mousebite", "pin-hole", "copper")])


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How much a training picture may change. The default values are for pictures of a camera.

    `clean`, `invert`, `paint`, `grey`, `jpeg` and `noise` are probabilities. `BLACK_AND_WHITE` has the values
    for scans with two levels.
    """

    size_px: int = 320
    scale: tuple[float, float] = (0.8, 1.25)
    shift_px: float = 2.5  # shift and rotation between master and board, in addition to those of the pair
    turn_deg: float = 0.25
    margin_px: float = 10.0  # margin of a box around its defect; the margin does not scale
    clean: float = 0.15  # the board is the master itself
    invert: float = 0.0  # light and dark change places, and the kinds with them
    paint: float = 0.0  # more defects are painted on the board; the copper must be dark
    grey: float = 1.0  # the picture keeps its grey levels; otherwise it becomes black and white
    jpeg: float = 0.3
    noise: float = 0.25


#: For DeepPCB: black copper and white board, with other levels from compression only.
BLACK_AND_WHITE = Augmentation(invert=0.25, paint=0.5, grey=0.25, jpeg=0.7)


def augmentation_for(pairs: Sequence[Pair]) -> Augmentation:
    """Return `BLACK_AND_WHITE` if the masters have hardly any grey pixels. Otherwise, return the defaults."""
    between = np.mean([np.mean((pair.master[::8, ::8] > 40) & (pair.master[::8, ::8] < 215)) for pair in pairs])
    return BLACK_AND_WHITE if between < 0.02 else Augmentation()


def augment(
    pair: Pair, how: Augmentation, rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return a random crop of the master and of the board, and the boxes and kinds of the board's defects.

    The crops are `(size_px, size_px)` uint8, boxes `(B, 4)` float32 in pixels, and kinds `(B,)` int64. `how`
    says how much the pictures may change.
    """
    board, boxes, kinds = pair.board, pair.boxes, pair.kinds
    if rng.random() < how.clean:
        board, boxes, kinds = pair.master, boxes[:0], kinds[:0]
    if rng.random() < how.paint:
        board, boxes, kinds = add_defects(board, boxes, kinds, how.margin_px, rng)
    place = _placement(boxes, board.shape, how, rng)
    master = _warp(pair.master, _nudged(place, how, rng), how.size_px)
    board = _warp(board, place, how.size_px)
    boxes, kinds = _placed(boxes, kinds, place, how)
    if rng.random() < how.invert:
        master, board, kinds = 255 - master, 255 - board, OPPOSITE[kinds]
    soft = rng.random() < how.grey
    return _photographed(master, soft, how, rng), _photographed(board, soft, how, rng), boxes, kinds


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


def _warp(picture: npt.NDArray[np.uint8], place: npt.NDArray[np.float64], size: int) -> npt.NDArray[np.uint8]:
    """Return a crop of a grey picture as `(size, size)` uint8. `place` is the 3x3 matrix to the crop."""
    # Pixel centres are at half pixels in `place`, but at whole pixels in OpenCV.
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    matrix = np.linalg.inv(half) @ place @ half
    warped = cv2.warpAffine(
        picture, matrix[:2], (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
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


def _photographed(
    picture: npt.NDArray[np.uint8], soft: bool, how: Augmentation, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Return the picture with other light and blur if `soft`, else in black and white, as `(H, W)` uint8."""
    if soft:
        if rng.random() < 0.5:
            picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.2)), np.uint8)
        dark, bright = rng.uniform(0, 60), rng.uniform(180, 255)
        levels = (dark + np.arange(256) * ((bright - dark) / 255)).astype(np.uint8)
        picture = np.asarray(cv2.LUT(picture, levels), np.uint8)
    else:
        picture = np.where(picture > rng.uniform(90, 165), np.uint8(255), np.uint8(0))
    if rng.random() < how.noise:
        cv2.setRNGSeed(int(rng.integers(2**31)))
        grain = cv2.randn(np.empty(picture.shape, np.int16), np.zeros(1), np.array([rng.uniform(1, 10)]))
        picture = np.asarray(cv2.add(picture, grain, dtype=cv2.CV_8U), np.uint8)
    if rng.random() < how.jpeg:
        _, packed = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(65, 99))])
        picture = np.asarray(cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE), np.uint8)
    return picture
