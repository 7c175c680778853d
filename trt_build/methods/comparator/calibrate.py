"""Sets a comparator's thresholds with held-out pairs, and keeps the scores of good boards for p-values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from edge.bundle import read_draft
from edge.engines import open_engine
from edge.engines.base import Outputs
from edge.judges.golden import scores
from edge.manifest import Calibration, Fit
from edge.recipe import EngineChoice
from trt_build.data.cases import answer, judge_all, pair_cases
from trt_build.data.errors import DatasetError
from trt_build.data.pairs import Pair, split
from trt_build.engines.saturation import REFERENCE, Lost, checked_int8
from trt_build.engines.verify import LOST, Measure
from trt_build.figures.boards import choose_thresholds, figures, find_all
from trt_build.figures.boxes import Boxes
from trt_build.figures.masks import EVEN_ODDS, choose_mask_thresholds, mask_figures
from trt_build.packing.fit import fit_of
from trt_build.packing.threshold import CalibrationOptions, calibration_of, write_thresholds
from trt_build.terminal.progress import counted

#: Good boards from which on p-values are worth keeping.
LEAST_GOOD = 19
NOTE = "The thresholds best tell true from false finds and promise no rate; good boards' scores give p-values."


def held_out_of(pairs: Sequence[Pair], data: Path) -> list[Pair]:
    """Return those of the pairs in `data` that are not used for training. Raise DatasetError if none is."""
    _, kept = split(pairs)
    if not kept:
        raise DatasetError(f"{data}: so few pairs that none was kept from training: give more, about 50")
    return kept


def set_thresholds(
    draft: Path, pairs: Sequence[Pair], options: CalibrationOptions, fit: Fit | None = None
) -> Calibration | None:
    """Set for each kind of defect the threshold that best separates true from false boxes in `pairs`.

    If the model was trained with masks, set the threshold that best separates defective from good boards.
    Remove the draft's INT8 graphs if they lose over one point of AP against FP32. If at least 19 pairs have no
    defect, keep the scores of their boards for p-values, and return the calibration; otherwise return None. The
    score of a board is the highest ratio of a map value to the threshold of the map's kind. `fit` says how well
    a board must fit its master; without `fit`, these limits are measured on `pairs`.
    """
    source = read_draft(draft)
    cases = list(pair_cases(pairs, source.manifest.input))
    source = checked_int8(source, cases, _quality_lost(measure_of(pairs, source.manifest.kinds)))
    thresholds, measured = _chosen(judge_all(source, REFERENCE, cases), pairs, source.manifest.kinds)
    good = [pair for pair in pairs if pair.is_good]
    calibration = None
    if len(good) >= LEAST_GOOD:
        limits = np.array([thresholds[kind] for kind in source.manifest.kinds], np.float32)
        with open_engine(EngineChoice(), source) as engine:
            found = [
                float((scores(answer(engine, source.manifest, case)) / np.maximum(limits, 1e-6)).max())
                for case in counted(pair_cases(good, source.manifest.input), "judging good boards", len(good))
            ]
            calibration = calibration_of(source, engine, np.array(found), options)
        calibration = msgspec.structs.replace(calibration, note=NOTE)
    metadata = {"held_out": measured}
    write_thresholds(draft, thresholds, calibration, fit=fit or fit_of(pairs), metadata=metadata)
    return calibration


def measure_of(pairs: Sequence[Pair], kinds: Sequence[str]) -> Measure:
    """Return a function that measures the quality of an engine from its outputs for these pairs.

    The quality is the mean over all kinds of the average precision (AP), in 0 to 100 points: of boxes at IoU
    0.33, or of pixels if the model was trained with masks. `kinds` are those of the model.
    """

    def measure(answers: Sequence[Outputs]) -> float:
        if "extents" not in answers[0]:
            even = dict.fromkeys(kinds, EVEN_ODDS)
            return 100 * mask_figures(pairs, [outputs["map"][0] for outputs in answers], even).get(
                "pixel_ap", 0.0
            )
        boxes = [boxes_of(outputs, pair, kinds) for outputs, pair in zip(answers, pairs, strict=True)]
        return figures(pairs, boxes, kinds, cut=0)["map33"]

    return measure


def _chosen(
    answers: Sequence[Outputs], pairs: Sequence[Pair], kinds: Sequence[str]
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the threshold of each kind, and the figures that it gives on these pairs."""
    if "extents" not in answers[0]:
        maps = [outputs["map"][0] for outputs in answers]
        thresholds = choose_mask_thresholds(pairs, maps, kinds)
        return thresholds, mask_figures(pairs, maps, thresholds)
    boxes = [boxes_of(outputs, pair, kinds) for outputs, pair in zip(answers, pairs, strict=True)]
    thresholds = choose_thresholds(pairs, boxes, kinds)
    return thresholds, figures(pairs, boxes, kinds, cut=min(thresholds.values()))


def _quality_lost(measure: Measure) -> Lost:
    """Return a function that says in words what INT8 loses against FP32, or None if at most one point.

    The function compares boxes and not scores, because all boards with defects have similar scores.
    """

    def lost(fp32: Sequence[Outputs], int8: Sequence[Outputs]) -> str | None:
        points = measure(fp32) - measure(int8)
        return (
            None if points <= LOST else f"it loses {points:.2f} points of AP against FP32, more than {LOST:g}"
        )

    return lost


def boxes_of(outputs: Outputs, pair: Pair, kinds: Sequence[str]) -> Boxes:
    """Return the boxes of the defects that an engine's outputs show for one pair, highest score first."""
    return find_all(lambda master, board: (outputs["map"][0], outputs["extents"][0]), [pair], kinds)[0]
