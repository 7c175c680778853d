"""A bundle's engine against its FP32 reference: differences, decisions that flip, and quality lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from edge.bundle import Bundle
from edge.engines import open_engine
from edge.engines.base import Outputs
from edge.errors import EngineError
from edge.golden import check_golden, decisions, differences
from edge.recipe import EngineChoice
from trt_build.cases import Case, answer

REFERENCE = EngineChoice(kind="onnxruntime", precision="fp32")
LOST = 1.0  # points of quality that an engine may lose
FLIPPED = 0.02  # part of cases of which the engine may decide otherwise

#: What an engine answered to each case, in their order, into a figure of merit in points.
Measure = Callable[[Sequence[Outputs]], float]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """An engine against the reference on labelled cases; quality in points, as the method measures it."""

    engine: str
    cases: int
    differences: dict[str, float]  # largest, by output and of the score
    flipped: list[str]  # cases that are rejected by one and not for the same kinds by the other
    reference: float
    quality: float


def verify(bundle: Bundle, choice: EngineChoice, cases: Iterable[Case], measure: Measure) -> Comparison | None:
    """Judge the golden cases, then labelled ones if there are any.

    EngineError where a golden case is not reproduced, more than LOST points are lost or more than FLIPPED of
    the cases are decided otherwise, and where there are cases but no FP32 judge. A calibrated threshold is
    the judging engine's own and says nothing of the reference's scores: then flips are told, and no error.
    """
    labelled = list(cases)
    with open_engine(choice, bundle) as engine:
        check_golden(engine, bundle)
        if not labelled:
            return None
        with open_engine(REFERENCE, bundle) as reference:
            check_golden(reference, bundle)
            theirs = [answer(reference, bundle.manifest, case) for case in labelled]
        ours = [answer(engine, bundle.manifest, case) for case in labelled]
        name = f"{engine.name} {engine.precision}"
    found = _compare(name, bundle, labelled, theirs, ours, measure)
    if found.reference - found.quality > LOST:
        raise EngineError(
            f"{name} loses {found.reference - found.quality:.2f} points of quality, more than {LOST:g}: "
            "calibrate on more pictures, or run fp32"
        )
    if len(found.flipped) > max(1, FLIPPED * len(labelled)):
        raise EngineError(
            f"{name} decides otherwise on {len(found.flipped)} of {len(labelled)} pictures "
            f"({', '.join(found.flipped[:5])}…), more than {FLIPPED:.0%}: calibrate on more, or run fp32"
        )
    return found


def judge_all(bundle: Bundle, choice: EngineChoice, cases: Iterable[Case]) -> list[Outputs]:
    """What an engine answers to each case, in their order."""
    with open_engine(choice, bundle) as engine:
        return [answer(engine, bundle.manifest, case) for case in cases]


def _compare(
    name: str,
    bundle: Bundle,
    cases: Sequence[Case],
    theirs: Sequence[Outputs],
    ours: Sequence[Outputs],
    measure: Measure,
) -> Comparison:
    largest: dict[str, float] = {}
    flipped: list[str] = []
    for case, expected, found in zip(cases, theirs, ours, strict=True):
        for output, difference in differences(found, expected, bundle.manifest).items():
            largest[output] = max(difference, largest.get(output, 0.0))
        if np.any(decisions(found, bundle.manifest) != decisions(expected, bundle.manifest)):
            flipped.append(case.name)
    return Comparison(
        engine=name,
        cases=len(cases),
        differences=largest,
        flipped=flipped,
        reference=measure(theirs),
        quality=measure(ours),
    )
