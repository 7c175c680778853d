"""Measures each precision's tolerances, and chooses golden frames, with which a line checks its engine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge.bundle import Draft
from edge.engines.base import Outputs
from edge.errors import BundleError
from edge.judges.golden import decisions, differences, scores
from edge.manifest import Manifest, Precision
from edge.manifest_file import check_tolerance
from trt_build.data.cases import Case
from trt_build.engines.runs import runs_of
from trt_build.engines.saturation import check_computed

#: Number of golden cases.
GOLDEN = 4
#: A golden case's score is at least this far above its threshold, or at most half of the threshold.
CLEAR = 0.1
#: Factor between the largest measured difference and the tolerance, since another CPU rounds otherwise.
MARGIN = 1.5
#: Smallest tolerance: absolute for probabilities and unit vectors, relative to the largest value for anomaly
#: models, whose scale is arbitrary. It covers the rounding of the stored golden frames.
LEAST = 2e-3
#: Smallest tolerance of the edges of boxes.
LEAST_EXTENT_PX = 0.2


def compare_engines(
    draft: Draft, manifest: Manifest, answers: Sequence[tuple[Case, Outputs]]
) -> tuple[dict[Precision, dict[str, float]], list[bool]]:
    """Return the tolerances of each precision, and for each case whether all engines agree on it.

    `answers` are all cases with the outputs of the FP32 model. The tolerance of an output is MARGIN times the
    largest difference between FP32 and any engine of that precision, on any case. Engines agree on a case if
    all of them decide as FP32 does. Raise EngineError if an engine saturates (cuts off sums that are too
    large), and BundleError if a tolerance is too large to detect errors.
    """
    cases, meant = [case for case, _ in answers], [wanted for _, wanted in answers]
    tolerances: dict[Precision, dict[str, float]] = {}
    agreed = [True] * len(answers)
    for precision in manifest.precisions():
        apart = _least(manifest, meant)
        exact: list[Outputs] = []
        for name, found in runs_of(draft, precision, cases):
            exact = exact or found
            if precision == "int8":
                check_computed(name, manifest, found, exact, meant)
            for i, (ours, wanted) in enumerate(zip(found, meant, strict=True)):
                for output, difference in differences(ours, wanted, manifest).items():
                    apart[output] = max(apart[output], float(f"{MARGIN * difference:.3g}"))
                agreed[i] &= bool((decisions(ours, manifest) == decisions(wanted, manifest)).all())
        check_tolerance(precision, apart["score"], manifest.thresholds)
        tolerances[precision] = apart
    return tolerances, agreed


def _least(manifest: Manifest, meant: Sequence[Outputs]) -> dict[str, float]:
    """Return the smallest tolerance of each output and of the score. `meant` are the answers of FP32."""
    least = {name: LEAST_EXTENT_PX if name == "extents" else LEAST for name in (*meant[0], "score")}
    if "score" in manifest.outputs:
        return {name: LEAST * max(float(np.abs(wanted[name]).max()) for wanted in meant) for name in least}
    return least


def choose_golden(
    answers: Sequence[tuple[Case, Outputs]], agreed: Sequence[bool], manifest: Manifest
) -> list[tuple[Case, Outputs]]:
    """Choose up to GOLDEN cases as golden frames: as many kinds of defect as possible, and good parts.

    Only clear cases are chosen: all engines agree (`agreed`), and each score is well above or well below its
    threshold. On an unclear case, even a correct engine could fail. Raise BundleError if no case is clear.
    """
    limits = np.array([manifest.thresholds[kind] for kind in manifest.kinds])
    under, over = limits / 2, limits + CLEAR
    # An anomaly score has no meaningful zero: the distance of the lowest score to the threshold sets the scale.
    if "score" in manifest.answers:
        margin = CLEAR * abs(float(limits[0]) - min(float(scores(o)[0]) for _, o in answers))
        under, over = limits - margin, limits + margin
    sure = [
        (case, outputs)
        for (case, outputs), agree in zip(answers, agreed, strict=True)
        if agree and ((scores(outputs) > over) | (scores(outputs) < under)).all()
    ]
    if not sure:
        raise BundleError(
            f"none of {len(answers)} pictures is judged clearly, every score well over its threshold or "
            "well under it and by all engines alike: give other pictures for the golden cases"
        )
    rejected = np.array([decisions(outputs, manifest) for _, outputs in sure])
    sorts = np.column_stack((rejected, ~rejected.any(axis=1)))
    chosen: list[int] = []
    for _ in range(min(GOLDEN, len(sure))):
        left = [i for i in range(len(sure)) if i not in chosen]
        seen = sorts[chosen].sum(axis=0)
        new = {i: int((sorts[i] & (seen == 0)).sum()) for i in left}
        chosen.append(min(left, key=lambda i: (-new[i], seen[sorts[i]].min(), i)))
    return [sure[i] for i in chosen]
