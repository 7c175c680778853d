"""Computes the figures of a comparator's maps against masks of the defects, and chooses thresholds by them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from trt_build.data.pairs import Pair
from trt_build.figures.ranking import escape_and_overkill, resize_map, sweep, sweep_pixels

FloatArray = npt.NDArray[np.float32]

#: The threshold of a kind that no board shows.
EVEN_ODDS = 0.5
#: Thresholds that are tried. Maps hold probabilities.
CANDIDATES = np.linspace(0.01, 0.99, 99, dtype=np.float32)


def mask_figures(
    pairs: Sequence[Pair], maps: Sequence[FloatArray], thresholds: dict[str, float]
) -> dict[str, float]:
    """Return the figures of pixels and of whole boards, each from 0 to 1, by name.

    A map is `(K, h, w)` float32, with a probability for each kind. `thresholds` are those of the kinds, in the
    order of the map: a board is rejected if a value reaches its kind's. Figures of pixels are means over the
    kinds that occur. Figures that need good or defective boards are left out if there are none.
    """
    found: dict[str, list[float]] = {}
    for kind in range(len(thresholds)):
        masks = [_mask_of(pair) == 1 + kind for pair in pairs]
        if any(mask.any() for mask in masks):
            of_kind = [map_[kind : kind + 1] for map_ in maps]
            resized = [resize_map(map_, mask.shape) for map_, mask in zip(of_kind, masks, strict=True)]
            pixels = sweep_pixels(resized, masks)
            found.setdefault("pixel_auroc", []).append(pixels.auroc)
            found.setdefault("pixel_ap", []).append(pixels.ap)
            found.setdefault("aupro30", []).append(pixels.aupro(0.3))
            found.setdefault("aupro05", []).append(pixels.aupro(0.05))
    means = {name: float(np.mean(values)) for name, values in found.items()}
    return means | _of_boards(pairs, maps, thresholds)


def _of_boards(
    pairs: Sequence[Pair], maps: Sequence[FloatArray], thresholds: dict[str, float]
) -> dict[str, float]:
    """Return the figures of whole boards; none unless there are good and defective ones."""
    limits = np.array(list(thresholds.values()), np.float32)
    # At 1, a value is at its kind's threshold.
    scores = np.array([(map_.max(axis=(1, 2)) / np.maximum(limits, 1e-6)).max() for map_ in maps])
    is_good = np.array([pair.is_good for pair in pairs])
    if is_good.all() or not is_good.any():
        return {}
    good, bad = scores[is_good], scores[~is_good]
    boards = sweep(good, bad)
    escapes, overkill = escape_and_overkill(good, bad, 1.0)
    return {
        "image_auroc": boards.auroc,
        "image_f1_max": boards.f1_max[0],
        "escape": escapes.rate,
        "overkill": overkill.rate,
    }


def choose_mask_thresholds(
    pairs: Sequence[Pair], maps: Sequence[FloatArray], kinds: Sequence[str]
) -> dict[str, float]:
    """Return for each kind the value that best tells boards with such a defect from boards without.

    Best is the highest F1 of boards. Where several values are equally good, the one with the highest F1 of
    cells is taken, so that what reaches it covers the defect.
    """
    return {kind: _threshold(pairs, maps, i) for i, kind in enumerate(kinds)}


def _threshold(pairs: Sequence[Pair], maps: Sequence[FloatArray], kind: int) -> float:
    """Return the best threshold for one kind, or EVEN_ODDS if no board shows it."""
    shown = np.array([kind in pair.kinds for pair in pairs])
    if not shown.any():
        return EVEN_ODDS
    highest = np.array([map_[kind].max() for map_ in maps])
    boards = _f1(highest, shown)
    values = np.concatenate([map_[kind].ravel() for map_ in maps])
    covered = np.concatenate(
        [_cells(_mask_of(pair) == 1 + kind, map_.shape[1:]) for pair, map_ in zip(pairs, maps, strict=True)]
    )
    cells = np.where(boards >= boards.max() - 1e-9, _f1(values, covered), -1.0)
    return round(float(CANDIDATES[cells.argmax()]), 2)


def _f1(scores: FloatArray, truth: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return the F1 of `scores` `(N,)` against `truth` `(N,)` at each candidate."""
    yes, no = np.sort(scores[truth]), np.sort(scores[~truth])
    right = len(yes) - np.searchsorted(yes, CANDIDATES)
    wrong = len(no) - np.searchsorted(no, CANDIDATES)
    return np.asarray(2 * right / np.maximum(right + wrong + len(yes), 1), np.float64)


def _cells(mask: npt.NDArray[np.bool_], shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Return as `(h * w,)` whether the mask `(H, W)` covers at least half of each of `(h, w)` cells."""
    share = cv2.resize(mask.astype(np.float32), (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(share >= 0.5).ravel()


def _mask_of(pair: Pair) -> npt.NDArray[np.uint8]:
    assert pair.mask is not None, "only pairs with masks have figures of pixels"
    return pair.mask
