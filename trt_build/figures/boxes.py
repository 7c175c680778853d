"""Found and true boxes into DeepPCB's official score and into class-mean average precision.

The official script (tangsanli5201/DeepPCB) descends from the ICDAR 2015 reading competition, and its
habits are part of the published figures: one average precision over all kinds pooled; boxes matched
in the order in which they stand in the file, not strongest first; a true box that a found one covers
is used up even where the kinds differ; precision, recall and F count every box that was handed in.
`class_mean_ap` is the usual figure, kind by kind, strongest first, without those habits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Boxes:
    """Boxes of one picture, in the order in which they are handed in."""

    boxes: npt.NDArray[np.floating]  # (B, 4) left, top, right, bottom
    kinds: npt.NDArray[np.int64]  # (B,)
    scores: npt.NDArray[np.floating]  # (B,); of no meaning for true boxes

    def of_kind(self, kind: int) -> Boxes:
        return self._where(self.kinds == kind)

    def from_score(self, cut: float) -> Boxes:
        return self._where(self.scores >= cut)

    def _where(self, keep: npt.NDArray[np.bool_]) -> Boxes:
        return Boxes(boxes=self.boxes[keep], kinds=self.kinds[keep], scores=self.scores[keep])


@dataclass(frozen=True, kw_only=True)
class OfficialScore:
    """All in 0..1; the average precisions are pooled over all kinds."""

    ap: float  # of every box found
    ap_at_cut: float  # of those handed in for F alone
    precision: float
    recall: float
    f: float


def official_score(
    truth: Sequence[Boxes], found: Sequence[Boxes], *, iou: float = 0.33, cut: float = 0.0
) -> OfficialScore:
    """DeepPCB's score of all found boxes and of those of at least `cut`.

    The script scores one list. Its precision curve wants the weak boxes too, its F only those that are
    meant, so a submission is scored twice, with and without the weak ones; this is both.
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
    """The mean over kinds, and each kind's average precision: area under the precision envelope."""
    each = []
    for kind in range(kinds):
        theirs = [t.of_kind(kind) for t in truth]
        ours = [f.of_kind(kind) for f in found]
        hits = np.concatenate([_match_strongest(t, f, iou) for t, f in zip(theirs, ours, strict=True)])
        scores = np.concatenate([f.scores for f in ours])
        each.append(_envelope_ap(scores, hits, sum(len(t.kinds) for t in theirs)))
    return float(np.mean(each)), each


def best_cut(truth: Sequence[Boxes], found: Sequence[Boxes], *, iou: float = 0.33) -> float:
    """The least score to hand in, in hundredths, for the highest official F."""
    cuts = np.unique(_scores(found).round(2))
    if not len(cuts):
        return 0.5
    quality = [official_score(truth, [f.from_score(cut) for f in found], iou=iou).f for cut in cuts]
    best = np.flatnonzero(np.array(quality) >= max(quality) - 1e-9)
    return float(cuts[best[len(best) // 2]])  # the middle of the plateau: the safest of equals


def overlaps(one: npt.NDArray[np.floating], other: npt.NDArray[np.floating]) -> FloatArray:
    """IoU of each box `(A, 4)` with each box `(B, 4)`: `(A, B)`."""
    sides = np.minimum(one[:, None, 2:], other[None, :, 2:]) - np.maximum(one[:, None, :2], other[None, :, :2])
    both = np.prod(np.clip(sides, 0, None), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (one, other)]
    return np.asarray(both / np.maximum(areas[0][:, None] + areas[1][None] - both, 1e-9), np.float64)


def _scores(found: Sequence[Boxes]) -> FloatArray:
    """Of all boxes of all pictures."""
    return np.concatenate([f.scores for f in found]).astype(np.float64)


def _hits(truth: Sequence[Boxes], found: Sequence[Boxes], iou: float) -> npt.NDArray[np.bool_]:
    """Whether each box of each picture counts as right, as the official script matches them."""
    return np.concatenate([_match_in_order(t, f, iou) for t, f in zip(truth, found, strict=True)])


def _match_in_order(truth: Boxes, found: Boxes, iou: float) -> npt.NDArray[np.bool_]:
    """Which found boxes count, going through the true ones and, for each, through the found ones."""
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
    """Which found boxes count, strongest first, each taking the free true box it covers best."""
    hits = np.zeros(len(found.kinds), bool)
    table = overlaps(found.boxes, truth.boxes)
    for f in np.argsort(-found.scores, kind="stable"):
        if table.shape[1] and table[f].max() >= iou:
            hits[f] = True
            table[:, table[f].argmax()] = -1.0
    return hits


def _curve(scores: FloatArray, hits: npt.NDArray[np.bool_], total: int) -> tuple[FloatArray, FloatArray]:
    """Recall and precision after each box, strongest first."""
    ranked = hits[np.argsort(-scores, kind="stable")]
    right = np.cumsum(ranked)
    return right / max(total, 1), right / np.arange(1, len(ranked) + 1)


def _stepwise_ap(scores: FloatArray, hits: npt.NDArray[np.bool_], total: int) -> float:
    """The mean over true boxes of the precision at the moment each was found: no envelope."""
    _, precision = _curve(scores, hits, total)
    ranked = hits[np.argsort(-scores, kind="stable")]
    return float(precision[ranked].sum() / max(total, 1))


def _envelope_ap(scores: FloatArray, hits: npt.NDArray[np.bool_], total: int) -> float:
    recall, precision = _curve(scores, hits, total)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * envelope).sum())
