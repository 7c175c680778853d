"""Checks that an INT8 graph judges as FP32 does, and that this machine's engine computes the graph correctly.

Some processors cut off a sum that is too large: the sum saturates. The processor reports no error, but the
scores are meaningless. Two measures reveal this: whether the scores rank the parts as FP32's scores do, and how
far the scores are from the exact scores, which the same graph gives if no sum is cut off.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from edge.bundle import Draft, Model, read_draft, write_manifest
from edge.engines import open_engine
from edge.engines.base import Engine, Outputs
from edge.errors import EngineError
from edge.judges.golden import scores
from edge.manifest import ModelManifest
from edge.recipe import EngineChoice
from trt_build.data.cases import Case, answers_of, judge_all
from trt_build.engines.exact import Exact

Floats = npt.NDArray[np.float64]
#: Takes FP32's and INT8's answers to the same cases; returns what INT8 loses, in words, or None.
Lost = Callable[[Sequence[Outputs], Sequence[Outputs]], str | None]

REFERENCE = EngineChoice(kind="onnxruntime", precision="fp32")
#: Least rank correlation of INT8's scores with FP32's on good parts. Three sound models had at least 0.96, the
#: same ones ruined 0.13. Comparators are checked by the defects that they find: defective boards score alike.
ORDER = 0.9
#: Largest root mean square distance of an engine from exact integers, in multiples of theirs from FP32. On four
#: models, sound engines had 0.05 to 1.1, saturated ones 1.5 (a comparator on AVX2) and 3.6 to 143.
STRAYS = 1.4
#: Smaller distances always pass: absolute for probabilities and cosines, relative to the largest anomaly score.
LEAST = 2e-3


def order_lost(fp32: Sequence[Outputs], int8: Sequence[Outputs]) -> str | None:
    """Return a message if INT8's scores rank the cases too differently from FP32's scores, otherwise None."""
    # Imported here, since verifying on a line's device needs no scipy.
    from scipy.stats import spearmanr

    expected, found = _highest(fp32), _highest(int8)
    # Equal scores have no order to lose.
    if np.ptp(expected) == 0:
        return None
    kept = 0.0 if np.ptp(found) == 0 else float(spearmanr(expected, found).statistic)
    if kept >= ORDER:
        return None
    return f"the rank correlation of its scores with FP32's is {kept:.2f}, less than {ORDER:g}"


def checked_int8(draft: Draft, cases: Sequence[Case], lost: Lost) -> Draft:
    """Check a draft's INT8 graphs on `cases`; delete them if they lose what FP32 finds. Return the draft.

    `lost` takes the answers of FP32 and of INT8 and says in words what INT8 loses, if anything. Raise
    EngineError if the graphs are good but this machine's INT8 engine does not compute them correctly.
    """
    if "int8" not in draft.manifest.precisions() or len(cases) < 2:
        return draft
    fp32 = judge_all(draft, REFERENCE, cases)
    exact = _judge_exactly(draft, cases)
    if why := lost(fp32, exact):
        return _leave_out(draft, why)
    with open_engine(EngineChoice(precision="int8"), draft) as engine:
        found = answers_of(engine, draft.manifest, cases)
    check_computed(f"{engine.name} int8", draft.manifest, found, exact, fp32)
    return draft


def check_saturation(engine: Engine, bundle: Model, cases: Sequence[Case], fp32: Sequence[Outputs]) -> None:
    """Raise EngineError if an open INT8 engine's scores are too far from the exact scores of the same graph.

    `fp32` holds the answers of the FP32 reference to the same `cases`.
    """
    found = answers_of(engine, bundle.manifest, cases)
    check_computed(f"{engine.name} int8", bundle.manifest, found, _judge_exactly(bundle, cases), fp32)


def check_computed(
    name: str,
    manifest: ModelManifest,
    found: Sequence[Outputs],
    exact: Sequence[Outputs],
    fp32: Sequence[Outputs],
) -> None:
    """Raise EngineError if an engine's scores differ from the exact scores by more than INT8 rounding explains.

    `found` are the answers of the engine `name`, `exact` are the answers of the same graph computed exactly,
    and `fp32` are the answers of FP32, all to the same cases.
    """
    ours, right, meant = (_highest(answers) for answers in (found, exact, fp32))
    strayed, rounded = _spread(ours - right), _spread(right - meant)
    largest = float(np.abs(meant).max()) if "score" in manifest.outputs else 1.0
    if strayed > max(STRAYS * rounded, LEAST * largest):
        raise EngineError(
            f"{name}: this CPU saturates: the scores of {manifest.name} differ by {strayed:.4g} from the same "
            f"graph in exact integers, and rounding to INT8 explains only {rounded:.4g}: run it with fp32 "
            "here, or export the checkpoint anew, with weights of 7 bits"
        )


def _judge_exactly(bundle: Model, cases: Sequence[Case]) -> list[Outputs]:
    with Exact(bundle, "int8") as engine:
        return answers_of(engine, bundle.manifest, cases)


def _leave_out(draft: Draft, why: str) -> Draft:
    """Delete the INT8 graphs of a draft and note the reason `why` in its manifest. Return the new draft.

    Those for GPUs are deleted too, because they round the same values in the same ranges.
    """
    manifest = draft.manifest
    kept = tuple(graph for graph in manifest.artifacts if graph.precision not in ("int8", "int8_fp16"))
    metadata = manifest.metadata | {"left_out": {"int8": why}}
    write_manifest(draft.folder, msgspec.structs.replace(manifest, artifacts=kept, metadata=metadata))
    for artifact in set(manifest.artifacts) - set(kept):
        (draft.folder / artifact.path).unlink()
    logging.getLogger(__name__).warning(
        "INT8 is left out of %s: on the pictures kept for calibrating %s. FP32 is calibrated instead; to have "
        "INT8, export the checkpoint with more pictures, as varied as those of the line",
        draft.folder,
        why,
    )
    return read_draft(draft.folder)


def _highest(answers: Sequence[Outputs]) -> Floats:
    """Return the score of each answer as `(n,)` float64. If an answer has several scores, take the highest."""
    return np.array([float(scores(outputs).max()) for outputs in answers])


def _spread(values: Floats) -> float:
    """Return the root mean square of `values`, which are `(n,)` float64."""
    return float(np.sqrt(np.mean(values**2)))
