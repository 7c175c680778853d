"""Compares an engine with a reference: different outputs, changed decisions, and lost quality."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec

import numpy as np

from edge.bundle import Bundle, Model
from edge.engines import open_engine
from edge.engines.base import Outputs
from edge.errors import EngineError
from edge.judges.golden import check_golden, decisions, differences, scores
from edge.manifest import ModelManifest, Precision
from edge.recipe import EngineChoice
from trt_build.data.cases import Case, answers_of
from trt_build.engines.exact import Exact
from trt_build.engines.saturation import REFERENCE, check_saturation

#: Points of quality that an engine may lose.
LOST = 1.0
#: Share of the cases on which the engine may decide otherwise than the reference.
FLIPPED = 0.02
#: Largest difference between two engines of the same graph, as a share of the output's largest value.
CLOSE: dict[Precision, float] = {"fp32": 0.01, "fp16": 0.05, "int8": 0.25, "int8_fp16": 0.25, "fp8": 0.25}

#: Takes an engine's answers to all cases, in their order; returns their quality in points.
Measure = Callable[[Sequence[Outputs]], float]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How an engine's answers to some cases differ from a reference's answers to the same cases.

    Quality is measured in points of the method's own figure, such as an AUROC in per cent.
    """

    engine: str
    cases: int
    differences: dict[str, float]  # largest difference of each output and of the score
    flipped: list[str]  # cases on which the two decide differently for at least one kind
    reference: float | None = None  # quality of the reference; None without labels
    quality: float | None = None  # quality of the engine; None without labels


def verify(bundle: Bundle, choice: EngineChoice, cases: Iterable[Case], measure: Measure) -> Comparison | None:
    """Check an engine on the golden frames, then compare it with the FP32 reference on the labelled `cases`.

    Return None if no case is labelled. Raise EngineError if the engine does not reproduce a golden frame, loses
    more than LOST points of quality, or decides differently on more than the share FLIPPED of the cases. Raise
    EngineError also if the reference cannot be opened.
    """
    labelled = list(cases)
    with open_engine(choice, bundle) as engine:
        if engine.precision == "int8" and find_spec("onnxruntime"):
            golden = bundle.golden()
            shown = [Case(name=case.name, image=case.image, master=case.master) for case in golden]
            check_saturation(engine, bundle, shown, [case.expected for case in golden])
        check_golden(engine, bundle)
        if not labelled:
            return None
        with open_engine(REFERENCE, bundle) as reference:
            check_golden(reference, bundle)
            theirs = answers_of(reference, bundle.manifest, labelled)
        ours = answers_of(engine, bundle.manifest, labelled)
        name = f"{engine.name} {engine.precision}"
    found = _compare(name, bundle, labelled, theirs, ours)
    expected, quality = measure(theirs), measure(ours)
    if expected - quality > LOST:
        raise EngineError(
            f"{name} loses {expected - quality:.2f} points of quality, more than {LOST:g}: "
            "calibrate on more pictures, or run fp32"
        )
    if len(found.flipped) > max(1, FLIPPED * len(labelled)):
        raise EngineError(
            f"{name} decides otherwise on {len(found.flipped)} of {len(labelled)} pictures "
            f"({', '.join(found.flipped[:5])}…), more than {FLIPPED:.0%}: calibrate on more, or run fp32"
        )
    return replace(found, reference=expected, quality=quality)


def check_draft(draft: Model, choice: EngineChoice, cases: Iterable[Case]) -> Comparison:
    """Compare an engine of a draft with ONNX Runtime on the same graph, because a draft has no golden frames.

    Raise EngineError if an output is not finite or differs by more than CLOSE allows on any case. How much
    quality the graph itself loses against FP32 is measured later, when the draft is packed.
    """
    shown = list(cases)
    with open_engine(choice, draft) as engine:
        ours = answers_of(engine, draft.manifest, shown)
        name, precision = f"{engine.name} {engine.precision}", engine.precision
    with Exact(draft, precision) as same:
        theirs = answers_of(same, draft.manifest, shown)
    found = _compare(name, draft, shown, theirs, ours)
    for output, difference in found.differences.items():
        expected = [scores(one) if output == "score" else one[output] for one in theirs]
        largest = max(float(np.abs(one).max()) for one in expected)
        if difference > CLOSE[precision] * largest:
            raise EngineError(
                f"{name}: {output} differs by {difference:.4g} from ONNX Runtime on the same graph, more than "
                f"{CLOSE[precision]:g} of the largest value, {largest:.4g}, so this engine does not compute "
                "the graph: run this precision on another engine"
            )
    return found


def noise(manifest: ModelManifest, count: int = 4) -> Iterator[Case]:
    """Yield cases of random noise, on which engines are checked without a data set.

    Each image is `(1, C, H, W)` uint8. If the method compares a part with a master, the master is noise too.
    """
    rng = np.random.default_rng(0)
    for number in range(count):
        image, other = rng.integers(0, 256, (2, *manifest.picture.shape), np.uint8)
        compares = manifest.features or manifest.matches_drawings
        yield Case(name=f"noise {number}", image=image, master=other if compares else None)


def _compare(
    name: str, bundle: Model, cases: Sequence[Case], theirs: Sequence[Outputs], ours: Sequence[Outputs]
) -> Comparison:
    """Return how the engine's answers (`ours`) differ from the reference's (`theirs`) on the same cases."""
    largest: dict[str, float] = {}
    flipped: list[str] = []
    for case, expected, found in zip(cases, theirs, ours, strict=True):
        for output, difference in differences(found, expected, bundle.manifest).items():
            largest[output] = max(difference, largest.get(output, 0.0))
        if np.any(decisions(found, bundle.manifest) != decisions(expected, bundle.manifest)):
            flipped.append(case.name)
    return Comparison(engine=name, cases=len(cases), differences=largest, flipped=flipped)
