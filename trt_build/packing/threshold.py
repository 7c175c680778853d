"""Sets a draft's threshold from the scores that the line's engine gives to good parts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from edge.bundle import Draft, read_draft, write_manifest
from edge.engines import open_engine
from edge.engines.base import Engine
from edge.judges.golden import scores
from edge.manifest import Calibration, Fit, Threshold
from edge.recipe import EngineChoice
from trt_build.data.cases import Case, answer
from trt_build.data.rates import scores_for
from trt_build.engines.saturation import checked_int8, order_lost
from trt_build.terminal.progress import counted

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class CalibrationOptions:
    """The largest share of good parts that may be rejected, and how a threshold for this share is found.

    For a matcher `similarity` can be given instead.
    """

    rate: float = 0.05  # largest share of good parts rejected
    how: Literal["conformal", "conditional", "extrapolated"] = "conformal"
    confidence: float = 0.95
    similarity: float | None = None  # lowest cosine that a matcher accepts; replaces the rate

    @property
    def least(self) -> int:
        """The least number of good parts for such a threshold. Raise CalibrationError if there is none."""
        from trt_build.packing.calibrate import LEAST_EXCESSES, TAIL, check_share

        check_share("rate", self.rate)
        check_share("confidence", self.confidence)
        if self.how == "extrapolated":
            return math.ceil(LEAST_EXCESSES / TAIL)
        return scores_for(self.rate, self.confidence if self.how == "conditional" else None)

    def threshold(self, good: Floats) -> Threshold:
        """Return the threshold for `(n,)` scores of good parts. Raise CalibrationError if they are too few."""
        # Imported here because packing and verifying need no scipy.
        from trt_build.packing.calibrate import conditional, conformal, extrapolated

        if self.how == "conformal":
            return conformal(good, rate=self.rate)
        if self.how == "conditional":
            return conditional(good, rate=self.rate, confidence=self.confidence)
        return extrapolated(good, rate=self.rate, confidence=self.confidence)


def set_threshold(draft: Path, good: Iterable[Case], options: CalibrationOptions) -> Calibration:
    """Set a draft's threshold from good parts that were used for no other choice. Return the calibration.

    If the model gives a map, also set `region_from`, the value from which a cell is shown as a defect, so that
    the same share of good parts has such a cell. First, INT8 graphs that rank the parts in another order than
    FP32 are deleted from the draft. Raise EngineError if this machine computes INT8 graphs wrongly.
    """
    cases = list(good)
    source = checked_int8(read_draft(draft), cases, order_lost)
    (kind,) = source.manifest.kinds
    found, peaks = [], []
    with open_engine(EngineChoice(), source) as engine:
        for case in counted(cases, f"judging on {engine.name} {engine.precision}"):
            outputs = answer(engine, source.manifest, case)
            found.append(float(scores(outputs)[0]))
            if "map" in outputs:
                peaks.append(float(outputs["map"].max()))
        calibration = calibration_of(source, engine, np.array(found), options)
    region_from = options.threshold(np.array(peaks)).threshold if peaks else None
    write_thresholds(draft, {kind: calibration.threshold}, calibration, region_from=region_from)
    return calibration


def calibration_of(source: Draft, engine: Engine, good: Floats, options: CalibrationOptions) -> Calibration:
    """Return the threshold for `good`, `(n,)` scores of good parts, with the scores and the graph used."""
    return Calibration(
        **msgspec.structs.asdict(options.threshold(good)),
        engine=f"{engine.name} {engine.precision}",
        artifact=source.digest_of_graph("judge", engine.precision),
        scores=tuple(np.sort(good).tolist()),
    )


def write_thresholds(
    draft: Path,
    thresholds: Mapping[str, float],
    calibration: Calibration | None,
    *,
    region_from: float | None = None,
    fit: Fit | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write thresholds, their calibration, a comparator's `fit` and more metadata into a draft's manifest."""
    manifest = read_draft(draft).manifest
    write_manifest(
        draft,
        msgspec.structs.replace(
            manifest,
            thresholds=dict(thresholds),
            calibration=calibration,
            region_from=region_from,
            fit=fit,
            metadata=manifest.metadata | dict(metadata or {}),
        ),
    )
