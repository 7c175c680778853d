"""Compares found boxes with true boxes: DeepPCB's official score, and the average precision of each kind.

The official script (tangsanli5201/DeepPCB) comes from the ICDAR 2015 reading competition. The published figures
depend on its peculiarities: It computes one average precision over all kinds. It matches boxes in the order of
the file, not by score. A true box and the first found box that covers it are both used up, even if their kinds
differ. Precision, recall and F count every submitted box. `class_mean_ap` computes the usual figure: it takes
each kind alone and matches the highest score first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Boxes:
    """The boxes in one picture, with their kinds and scores. The official score depends on their order."""

    boxes: npt.NDArray[np.floating]  # (B, 4) left, top, right, bottom in pixels
    kinds: npt.NDArray[np.int64]  # (B,)
    scores: npt.NDArray[np.floating]  # (B,), not used for true boxes

    def of_kind(self, kind: int) -> Boxes:
        """Return only the boxes of this kind."""
        return self._where(self.kinds == kind)

    def from_score(self, cut: float) -> Boxes:
        """Return only the boxes with a score of at least `cut`."""
        return self._where(self.scores >= cut)

    def _where(self, keep: npt.NDArray[np.bool_]) -> Boxes:
        """Return only the boxes for which `keep`, `(B,)` bool, is True."""
        return Boxes(boxes=self.boxes[keep], kinds=self.kinds[keep], scores=self.scores[keep])


@dataclass(frozen=True, kw_only=True)
class OfficialScore:
    """DeepPCB's official score. Each value is from 0 to 1. The average precision counts all kinds together."""

    ap: float  # of all found boxes
    ap_at_cut: float  # of the boxes that F counts
    precision: float
    recall: float
    f: float


def official_score(
    truth: Sequence[Boxes], found: Sequence[Boxes], *, iou: float = 0.33, cut: float = 0.0
) -> OfficialScore:
    """Return DeepPCB's official score of the found boxes.

    Precision, recall and F1 (`f`) ignore found boxes with a score below `cut`. The average precision is given
    with these boxes (`ap`), because a precision-recall curve needs low scores too, and without (`ap_at_cut`).
    """
    total = sum(len(t.kinds) for t in truth)
    meant = [f.from_score(cut) for f in found]
    hits = _hits(truth, meant, iou)
    right = int(hits.sum())
    precision = right / len(hits) if len(hits) else 0.0
    recall = right / total if total else 1.0
    return OfficialScore(
        ap=_stepwise_ap(_scores(found), _hits(truth, found, iou), total),
        ap_at_cut=_stepwise_ap(_scores(meant), hits, total),
        precision=precision,
        recall=recall,
        f=2 * precision * recall / (precision + recall) if right else 0.0,
    )


def class_mean_ap(
    truth: Sequence[Boxes], found: Sequence[Boxes], *, iou: float, kinds: int
) -> tuple[float, list[float]]:
    """Return the mean average precision of all kinds, and the average precision of each kind."""
    each = []
    for kind in range(kinds):
        theirs = [t.of_kind(kind) for t in truth]
        ours = [f.of_kind(kind) for f in found]
        hits = np.concatenate([_match_strongest(t, f, iou) for t, f in zip(theirs, ours, strict=True)])
        scores = np.concatenate([f.scores for f in ours])
        each.append(_envelope_ap(scores, hits, sum(len(t.kinds) for t in theirs)))
    return float(np.mean(each)), each


def best_cut(truth: Sequence[Boxes], found: Sequence[Boxes], *, iou: float = 0.33) -> float:
    """Return the score threshold for boxes, rounded to 0.01, that gives the highest official F."""
    cuts = np.unique(_scores(found).round(2))
    if not len(cuts):
        return 0.5
    quality = [official_score(truth, [f.from_score(cut) for f in found], iou=iou).f for cut in cuts]
    best = np.flatnonzero(np.array(quality) >= max(quality) - 1e-9)
    # If several cuts are equally good, the middle one is the safest.
    return float(cuts[best[len(best) // 2]])


def overlaps(one: npt.NDArray[np.floating], other: npt.NDArray[np.floating]) -> FloatArray:
    """Return the IoU of each of the A boxes in `one` with each of the B boxes in `other`, as `(A, B)`."""
    sides = np.minimum(one[:, None, 2:], other[None, :, 2:]) - np.maximum(one[:, None, :2], other[None, :, :2])
    both = np.prod(np.clip(sides, 0, None), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (one, other)]
    return np.asarray(both / np.maximum(areas[0][:, None] + areas[1][None] - both, 1e-9), np.float64)


def _scores(found: Sequence[Boxes]) -> FloatArray:
    """Return the scores of all boxes in all pictures as `(N,)`."""
    return np.concatenate([f.scores for f in found]).astype(np.float64)


def _hits(truth: Sequence[Boxes], found: Sequence[Boxes], iou: float) -> npt.NDArray[np.bool_]:
    """Return whether each found box of all pictures is right, as `(N,)`, by the rules of DeepPCB's script."""
    return np.concatenate([_match_in_order(t, f, iou) for t, f in zip(truth, found, strict=True)])


def _match_in_order(truth: Boxes, found: Boxes, iou: float) -> npt.NDArray[np.bool_]:
    """Return which found boxes are right as `(B,)`. Each true box takes the first unused box that covers it."""
    hits = np.zeros(len(found.kinds), bool)
    used = np.zeros(len(found.kinds), bool)
    table = overlaps(truth.boxes, found.boxes) > iou
    for t in range(len(truth.kinds)):
        free = np.flatnonzero(table[t] & ~used)
        if len(free):
            used[free[0]] = True
            hits[free[0]] = truth.kinds[t] == found.kinds[free[0]]
    return hits


def _match_strongest(truth: Boxes, found: Boxes, iou: float) -> npt.NDArray[np.bool_]:
    """Return which found boxes are right as `(B,)`. Boxes with high scores choose their true box first."""
    hits = np.zeros(len(found.kinds), bool)
    table = overlaps(found.boxes, truth.boxes)
    for f in np.argsort(-found.scores, kind="stable"):
        if table.shape[1] and table[f].max() >= iou:
            hits[f] = True
            table[:, table[f].argmax()] = -1.0
    return hits


def _curve(scores: FloatArray, hits: npt.NDArray[np.bool_], total: int) -> tuple[FloatArray, FloatArray]:
    """Return recall and precision after each of N boxes, highest score first. `total` counts the true boxes."""
    ranked = hits[np.argsort(-scores, kind="stable")]
    right = np.cumsum(ranked)
    return right / max(total, 1), right / np.arange(1, len(ranked) + 1)


def _stepwise_ap(scores: FloatArray, hits: npt.NDArray[np.bool_], total: int) -> float:
    """Return the average precision: the mean, over all true boxes, of the precision at which each was found."""
    _, precision = _curve(scores, hits, total)
    ranked = hits[np.argsort(-scores, kind="stable")]
    return float(precision[ranked].sum() / max(total, 1))


def _envelope_ap(scores: FloatArray, hits: npt.NDArray[np.bool_], total: int) -> float:
    """Return the average precision: the area under the envelope of the precision over the recall."""
    recall, precision = _curve(scores, hits, total)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * envelope).sum())
