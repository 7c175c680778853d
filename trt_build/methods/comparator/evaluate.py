"""Measures a comparator on labelled pairs, with a cut or thresholds that were chosen on other pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge.judges.regions import find_regions
from trt_build.data.pairs import Pair
from trt_build.figures.boards import FloatArray, as_boxes, choose_cut, draw_worst, figures, find_all
from trt_build.figures.boxes import Boxes
from trt_build.figures.masks import EVEN_ODDS, choose_mask_thresholds, mask_figures
from trt_build.methods.base import Evaluated, EvaluateOptions
from trt_build.methods.comparator.calibrate import held_out_of
from trt_build.methods.comparator.judge import Opened, open_judge, pairs_for
from trt_build.terminal.progress import counted


def evaluate(model: Path, data: Path, options: EvaluateOptions) -> Evaluated:
    """Return the figures of a bundle or a checkpoint on the pairs in `data`.

    If `options.report` is a folder, write pictures of the worst boards to it. A box counts if its score reaches
    the cut. The cut is chosen on the held-out pairs of the folder `options.chosen_on`; without this folder, it
    is 0.5. If the model was trained with masks, its thresholds are chosen on these pairs; without this folder,
    they are the bundle's.
    """
    with open_judge(model) as opened:

        def read(folder: Path) -> list[Pair]:
            return pairs_for(folder, opened.input, opened.kinds, extents=opened.extents)

        test = read(data)
        kept = held_out_of(read(options.chosen_on), options.chosen_on) if options.chosen_on else []
        measure = _by_boxes if opened.extents else _by_masks
        measured, found, cut = measure(opened, test, kept)
    if not options.report:
        return Evaluated(figures=measured)
    drawn = draw_worst(test, found, opened.kinds, options.report, cut=cut)
    return Evaluated(figures=measured, written=(f"{len(drawn)} pictures in {options.report}",))


def _by_boxes(
    opened: Opened, test: Sequence[Pair], kept: Sequence[Pair]
) -> tuple[dict[str, float], list[Boxes], float]:
    """Return the figures of boxes, the boxes that were found, and the cut, which is chosen on `kept`."""
    judge, kinds = opened.judge, opened.kinds
    cut = choose_cut(kept, find_all(judge, counted(kept, "choosing the cut"), kinds)) if kept else EVEN_ODDS
    found = find_all(judge, counted(test, "judging boards"), kinds)
    return figures(test, found, kinds, cut=cut), found, cut


def _by_masks(
    opened: Opened, test: Sequence[Pair], kept: Sequence[Pair]
) -> tuple[dict[str, float], list[Boxes], float]:
    """Return the figures of pixels and boards, the boxes of regions over the thresholds, and 0 as their cut."""

    def maps(pairs: Sequence[Pair], doing: str) -> list[FloatArray]:
        return [opened.judge(pair.master, pair.board)[0] for pair in counted(pairs, doing)]

    thresholds = opened.thresholds or dict.fromkeys(opened.kinds, EVEN_ODDS)
    if kept:
        thresholds = choose_mask_thresholds(kept, maps(kept, "choosing thresholds"), opened.kinds)
    judged = maps(test, "judging boards")
    stride = opened.input.height // judged[0].shape[1]
    found = [
        as_boxes(find_regions(map_, None, thresholds=thresholds, stride=stride), opened.kinds)
        for map_ in judged
    ]
    return mask_figures(test, judged, thresholds), found, 0.0
