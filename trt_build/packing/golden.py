"""Answers of the FP32 model and of each engine into tolerances, and into the pictures for golden cases."""

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

GOLDEN = 4  # cases
CLEAR = 0.1  # a score over its threshold is so far over it in a golden case; one under it is half of it
MARGIN = 1.5  # times the largest difference measured: another CPU rounds otherwise
#: Least tolerance: of probabilities and of vectors of length 1, and in parts of the largest value that an
#: anomaly model gave, whose scale is its own; covers the rounding of what is stored.
LEAST = 2e-3
LEAST_EXTENT_PX = 0.2


def compare_engines(
    draft: Draft, manifest: Manifest, answers: Sequence[tuple[Case, Outputs]]
) -> tuple[dict[Precision, dict[str, float]], list[bool]]:
    """By precision, what each output may differ by: more than it did on any case, however it was computed.

    And of each case whether all ways decide as the FP32 model does, which gave the `answers`. EngineError where
    an engine saturates, BundleError where a precision differs so much that its tolerance would tell nothing.
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
    least = {name: LEAST_EXTENT_PX if name == "extents" else LEAST for name in (*meant[0], "score")}
    if "score" in manifest.outputs:
        return {name: LEAST * max(float(np.abs(wanted[name]).max()) for wanted in meant) for name in least}
    return least


def choose_golden(
    answers: Sequence[tuple[Case, Outputs]], agreed: Sequence[bool], manifest: Manifest
) -> list[tuple[Case, Outputs]]:
    """Cases of all kinds of defect and good ones, as far as they go, none of which is a near thing.

    Where engines decide otherwise than the FP32 model, one that is sound could not be told from another.
    BundleError where no case is left.
    """
    limits = np.array([manifest.thresholds[kind] for kind in manifest.kinds])
    under, over = limits / 2, limits + CLEAR
    if "score" in manifest.answers:  # whose zero means nothing: by how far the lowest lies under the threshold
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
