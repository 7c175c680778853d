"""A bundle's engine against its FP32 reference: differences, decisions that flip, and precision lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge.bundle import Bundle
from edge.engines import open_engine
from edge.engines.base import Engine, Outputs
from edge.errors import EngineError
from edge.golden import check_golden, check_numbers, decisions, differences, judge
from edge.manifest import Manifest
from edge.recipe import EngineChoice
from trt_build.dataset import Pair
from trt_build.evaluate import figures, find_all
from trt_build.metrics import Boxes

REFERENCE = EngineChoice(kind="onnxruntime", precision="fp32")
AP_LOST = 1.0  # points of class-mean AP that an engine may lose
FLIPPED = 0.02  # part of boards of which the engine may decide otherwise


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """An engine against the reference on labelled boards; AP is the class mean at IoU 0.33, in points."""

    engine: str
    boards: int
    differences: dict[str, float]  # largest, by output and of the score
    flipped: list[str]  # boards that are rejected by one and not for the same kinds by the other
    ap_reference: float
    ap: float


def verify(bundle: Bundle, choice: EngineChoice, pairs: Sequence[Pair]) -> Comparison | None:
    """Judge the golden cases, then labelled boards if there are any.

    EngineError where a golden case is not reproduced, more than AP_LOST points are lost or more than
    FLIPPED of the boards are decided otherwise, and where there are boards but no FP32 judge.
    """
    with open_engine(choice, bundle) as engine:
        check_golden(engine, bundle)
        if not pairs:
            return None
        with open_engine(REFERENCE, bundle) as reference:
            check_golden(reference, bundle)
            found = _compare(reference, engine, bundle.manifest, pairs)
    if found.ap_reference - found.ap > AP_LOST:
        raise EngineError(
            f"{found.engine} loses {found.ap_reference - found.ap:.2f} points of AP, more than {AP_LOST:g}: "
            "calibrate on more pairs, or run fp32"
        )
    if len(found.flipped) > FLIPPED * len(pairs):
        raise EngineError(
            f"{found.engine} decides otherwise on {len(found.flipped)} of {len(pairs)} boards "
            f"({', '.join(found.flipped[:5])}…), more than {FLIPPED:.0%}: calibrate on more pairs, or run fp32"
        )
    return found


def answer(engine: Engine, manifest: Manifest, pair: Pair) -> Outputs:
    """What an engine says of a pair; EngineError where that is not a number."""
    found = judge(engine, manifest.input.tensor(pair.board), manifest.input.tensor(pair.master))
    check_numbers(f"{pair.name} on {engine.name} {engine.precision}", found)
    return found


def boxes_of(outputs: Outputs, pair: Pair) -> Boxes:
    """The boxes that `evaluate` finds in an engine's outputs."""
    return find_all(lambda master, board: (outputs["map"][0], outputs["extents"][0]), [pair])[0]


def _compare(reference: Engine, engine: Engine, manifest: Manifest, pairs: Sequence[Pair]) -> Comparison:
    largest: dict[str, float] = {}
    flipped: list[str] = []
    theirs, ours = [], []
    for pair in pairs:
        expected, found = (answer(e, manifest, pair) for e in (reference, engine))
        for name, difference in differences(found, expected, manifest).items():
            largest[name] = max(difference, largest.get(name, 0.0))
        if np.any(decisions(found, manifest) != decisions(expected, manifest)):
            flipped.append(pair.name)
        theirs.append(boxes_of(expected, pair))
        ours.append(boxes_of(found, pair))
    return Comparison(
        engine=f"{engine.name} {engine.precision}",
        boards=len(pairs),
        differences=largest,
        flipped=flipped,
        ap_reference=figures(pairs, theirs, cut=0)["map33"],
        ap=figures(pairs, ours, cut=0)["map33"],
    )
