"""Evaluates a comparator on boards: computes quality figures, chooses thresholds, and draws the worst boards.

Thresholds are chosen on pairs that were not used in training. The figures are reported on other pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge.image.labels import FONT, WHITE, Color, Marked, draw_marked
from edge.judges.regions import find_regions
from edge.messages import Region
from trt_build.data.pairs import Pair, in_colour
from trt_build.data.pictures import save
from trt_build.figures.boxes import Boxes, best_cut, class_mean_ap, official_score, overlaps

FloatArray = npt.NDArray[np.float32]
Picture = npt.NDArray[np.uint8]

#: Takes master and board, `(H, W)` or `(H, W, 3)` BGR uint8. Returns the map `(K, h, w)` float32, and the
#: extents `(4, h, w)` float32 if the model has them.
Judge = Callable[[Picture, Picture], tuple[FloatArray, FloatArray | None]]

#: Boxes with a lower score are left out of the precision curve.
FLOOR = 0.05
#: Least overlap at which a found box is right, as DeepPCB defines it.
IOU = 0.33
GREEN, RED, INK = (0, 150, 0), (0, 0, 255), (30, 30, 30)
TITLE_PX = 22


def find_all(judge: Judge, pairs: Iterable[Pair], kinds: Sequence[str], *, floor: float = FLOOR) -> list[Boxes]:
    """Return for each board the boxes that the judge finds with a score of at least `floor`, highest first.

    `kinds` are the names of the kinds of defects, in the order of the map. The other functions here take them
    in the same order.
    """
    thresholds = dict.fromkeys(kinds, floor)
    found = []
    for pair in pairs:
        map_, extents = judge(pair.master, pair.board)
        stride = pair.board.shape[1] // map_.shape[2]
        found.append(as_boxes(find_regions(map_, extents, thresholds=thresholds, stride=stride), kinds))
    return found


def truth_of(pairs: Sequence[Pair]) -> list[Boxes]:
    """Return the true boxes of each pair, with a score of 1."""
    return [Boxes(boxes=p.boxes, kinds=p.kinds, scores=np.ones(len(p.kinds))) for p in pairs]


def figures(
    pairs: Sequence[Pair], found: Sequence[Boxes], kinds: Sequence[str], *, cut: float
) -> dict[str, float]:
    """Return DeepPCB's official score and each kind's average precision, in per cent.

    Precision, recall and F count only the found boxes with a score of at least `cut`.
    """
    truth = truth_of(pairs)
    official = official_score(truth, found, iou=IOU, cut=cut)
    map33, each = class_mean_ap(truth, found, iou=IOU, kinds=len(kinds))
    map50, _ = class_mean_ap(truth, found, iou=0.5, kinds=len(kinds))
    named = {"ap_pooled": official.ap, "ap_pooled_at_cut": official.ap_at_cut, "f": official.f}
    named |= {"precision": official.precision, "recall": official.recall, "map33": map33, "map50": map50}
    named |= {f"ap33_{kind}": ap for kind, ap in zip(kinds, each, strict=True)}
    return {name: 100 * value for name, value in named.items()} | {"cut": cut}


def choose_cut(pairs: Sequence[Pair], found: Sequence[Boxes]) -> float:
    """Return the score threshold for found boxes that gives the highest official F."""
    return best_cut(truth_of(pairs), found, iou=IOU)


def choose_thresholds(pairs: Sequence[Pair], found: Sequence[Boxes], kinds: Sequence[str]) -> dict[str, float]:
    """Return for each kind of defect the score that best separates true boxes from false boxes."""
    truth = truth_of(pairs)
    return {
        kind: best_cut([t.of_kind(i) for t in truth], [f.of_kind(i) for f in found], iou=IOU)
        for i, kind in enumerate(kinds)
    }


def draw_worst(
    pairs: Sequence[Pair],
    found: Sequence[Boxes],
    kinds: Sequence[str],
    folder: Path,
    *,
    cut: float,
    count: int = 20,
) -> list[Path]:
    """Write pictures of the `count` boards with the most escapes and overkills. Return their paths.

    A picture shows the master, and beside it the board with true boxes in green and found boxes in red.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wrong = [_mistakes(t, f.from_score(cut)) for t, f in zip(truth_of(pairs), found, strict=True)]
    written = []
    for i in sorted(range(len(pairs)), key=lambda i: (-sum(wrong[i]), pairs[i].name))[:count]:
        escapes, overkills = wrong[i]
        if escapes + overkills == 0:
            break
        path = folder / f"{pairs[i].name}_escaped{escapes}_overkill{overkills}.png"
        save(path, _side_by_side(pairs[i], found[i].from_score(cut), kinds))
        written.append(path)
    return written


def _mistakes(truth: Boxes, found: Boxes) -> tuple[int, int]:
    """Return how many true boxes were not found (escapes) and how many found boxes are false (overkills)."""
    table = (overlaps(truth.boxes, found.boxes) > IOU) & (truth.kinds[:, None] == found.kinds[None])
    return int((~table.any(axis=1)).sum()), int((~table.any(axis=0)).sum())


def _side_by_side(pair: Pair, found: Boxes, kinds: Sequence[str]) -> Picture:
    """Return master and board side by side, with true and found boxes on the board, as BGR uint8."""
    board = in_colour(pair.board).copy()
    marked = [
        Marked(box=_sides(box), text=kinds[kind], color=GREEN)
        for box, kind in zip(pair.boxes, pair.kinds, strict=True)
    ]
    marked += [
        Marked(box=_sides(box), text=f"{kinds[kind]} {score:.2f}", color=RED, line_px=1)
        for box, kind, score in zip(found.boxes, found.kinds, found.scores, strict=True)
    ]
    draw_marked(board, marked, size=0.4)
    return np.hstack(
        (
            _titled(in_colour(pair.master), [("master", INK)]),
            _titled(board, [("board: ", INK), ("true defects, ", GREEN), ("found ones with their score", RED)]),
        )
    )


def _titled(picture: Picture, words: Sequence[tuple[str, Color]]) -> Picture:
    """Add a line of text above a picture `(H, W, 3)` BGR. `words` are pieces of the text with their colours.

    A picture that is narrower than the text gets a white margin at its right.
    """
    left = 6
    needed = 2 * left + sum(cv2.getTextSize(word, FONT, 0.45, 1)[0][0] for word, _ in words)
    margin = max(0, needed - picture.shape[1])
    bordered = cv2.copyMakeBorder(picture, TITLE_PX, 0, 0, margin, cv2.BORDER_CONSTANT, value=WHITE)
    titled = np.asarray(bordered, np.uint8)
    for word, color in words:
        cv2.putText(titled, word, (left, TITLE_PX - 7), FONT, 0.45, color, 1, cv2.LINE_AA)
        left += cv2.getTextSize(word, FONT, 0.45, 1)[0][0]
    return titled


def _sides(box: npt.NDArray[Any]) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of a box `(4,)` as whole pixels."""
    left, top, right, bottom = (int(side) for side in box)
    return left, top, right, bottom


def as_boxes(regions: Sequence[Region], kinds: Sequence[str]) -> Boxes:
    """Convert regions to boxes, in the same order."""
    return Boxes(
        boxes=np.array([(r.x, r.y, r.x + r.w, r.y + r.h) for r in regions], np.float64).reshape(-1, 4),
        kinds=np.array([kinds.index(r.kind) for r in regions], np.int64),
        scores=np.array([r.score for r in regions], np.float64),
    )
