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
from trt_build.data.pairs import Pair, read_pairs, split
from trt_build.engines.saturation import REFERENCE, Lost, checked_int8
from trt_build.engines.verify import LOST, Measure
from trt_build.figures.boards import choose_thresholds, figures, find_all
from trt_build.figures.boxes import Boxes
from trt_build.packing.fit import fit_of
from trt_build.packing.threshold import CalibrationOptions, calibration_of, write_thresholds
from trt_build.terminal.progress import counted

#: Good boards from which on p-values are worth keeping.
LEAST_GOOD = 19
NOTE = "The thresholds best tell true from false boxes and promise no rate; good boards' scores give p-values."


def held_out_pairs(data: Path) -> list[Pair]:
    """Return the pairs in `data` that are not used for training. Raise DatasetError if there are none."""
    _, kept = split(read_pairs(data))
    if not kept:
        raise DatasetError(f"{data}: so few pairs that none was kept from training: give more, about 50")
    return kept


def set_thresholds(
    draft: Path, pairs: Sequence[Pair], options: CalibrationOptions, fit: Fit | None = None
) -> Calibration | None:
    """Set for each kind of defect the threshold that best separates true from false boxes in `pairs`.

    Remove the draft's INT8 graphs if they lose over one point of AP against FP32. If at least 19 pairs have no
    defect, keep the scores of their boards for p-values, and return the calibration; otherwise return None. The
    score of a board is the highest ratio of a map value to the threshold of the map's kind. `fit` says how well
    a board must fit its master; without `fit`, these limits are measured on `pairs`.
    """
    source = read_draft(draft)
    cases = list(pair_cases(pairs, source.manifest.input))
    source = checked_int8(source, cases, _quality_lost(measure_of(pairs)))
    answers = judge_all(source, REFERENCE, cases)
    boxes = [boxes_of(outputs, pair) for outputs, pair in zip(answers, pairs, strict=True)]
    thresholds = choose_thresholds(pairs, boxes)
    good = [pair for pair in pairs if not len(pair.kinds)]
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
    metadata = {"held_out": figures(pairs, boxes, cut=min(thresholds.values()))}
    write_thresholds(draft, thresholds, calibration, fit=fit or fit_of(pairs), metadata=metadata)
    return calibration


def measure_of(pairs: Sequence[Pair]) -> Measure:
    """Return a function that measures the quality of an engine from its outputs for these pairs.

    The quality is the mean over all kinds of the average precision (AP) at IoU 0.33, in 0 to 100 points.
    """

    def measure(answers: Sequence[Outputs]) -> float:
        found = [boxes_of(outputs, pair) for outputs, pair in zip(answers, pairs, strict=True)]
        return figures(pairs, found, cut=0)["map33"]

    return measure


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


def boxes_of(outputs: Outputs, pair: Pair) -> Boxes:
    """Return the boxes of the defects that an engine's outputs show for one pair, highest score first."""
    return find_all(lambda master, board: (outputs["map"][0], outputs["extents"][0]), [pair])[0]
