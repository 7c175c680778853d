"""Good parts' scores on the engine that will judge, into a draft's threshold and what it promises."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from edge.bundle import Bundle, read_bundle, write_manifest
from edge.engines import open_engine
from edge.engines.base import Engine
from edge.errors import BundleError
from edge.judges.golden import scores
from edge.manifest import Calibration, Fit
from edge.recipe import EngineChoice
from trt_build.data.cases import Case, answer
from trt_build.engines.saturation import checked_int8, order_lost
from trt_build.figures.thresholds import just_over
from trt_build.terminal.progress import counted

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class CalibrationOptions:
    """What is asked of a threshold."""

    rate: float = 0.05  # good parts rejected, at most
    how: Literal["conformal", "conditional", "extrapolated"] = "conformal"
    confidence: float = 0.95

    def threshold(self, good: Floats) -> Any:
        """The threshold of good parts' scores; CalibrationError where they are too few."""
        # Here, since who packs and verifies needs none of what calibrating does.
        from trt_build.packing.calibrate import conditional, conformal, extrapolated

        if self.how == "conformal":
            return conformal(good, rate=self.rate)
        if self.how == "conditional":
            return conditional(good, rate=self.rate, confidence=self.confidence)
        return extrapolated(good, rate=self.rate, confidence=self.confidence)


def read_draft(folder: Path) -> Bundle:
    """A draft to be calibrated; BundleError for a bundle that is packed already."""
    source = read_bundle(folder)
    if source.manifest.golden:
        raise BundleError(f"{folder}: is packed, and a bundle never changes: calibrate the draft, pack it anew")
    return source


def set_threshold(draft: Path, good: Iterable[Case], options: CalibrationOptions) -> Calibration:
    """Set a draft's threshold by good parts `good`, which nothing else was chosen with, on its engine.

    Where the model gives a map, cells are shown as defective from the value on that the same share of good
    parts has anywhere. INT8 graphs that put the parts into another order than FP32 are taken out of the draft
    first; EngineError where this machine does not compute them.
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
    region_from = just_over(options.threshold(np.array(peaks)).threshold) if peaks else None
    write_thresholds(draft, {kind: just_over(calibration.threshold)}, calibration, region_from=region_from)
    return calibration


def calibration_of(source: Bundle, engine: Engine, good: Floats, options: CalibrationOptions) -> Calibration:
    """The promise's threshold on these scores, with the scores and the graph that gave them."""
    said = options.threshold(good)
    facts = {
        "engine": f"{engine.name} {engine.precision}",
        "artifact": source.digest_of_graph("judge", engine.precision),
        "scores": np.sort(good).tolist(),
    }
    return msgspec.convert(
        {key: value for key, value in asdict(said).items() if value is not None} | facts, Calibration
    )


def write_thresholds(
    draft: Path,
    thresholds: Mapping[str, float],
    calibration: Calibration | None,
    *,
    region_from: float | None = None,
    fit: Fit | None = None,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write thresholds, and how well a comparator's parts have to fit, into a draft's manifest."""
    manifest = read_bundle(draft).manifest
    write_manifest(
        draft,
        msgspec.structs.replace(
            manifest,
            thresholds=dict(thresholds),
            calibration=calibration,
            region_from=region_from,
            fit=fit,
            facts=manifest.facts | {"calibrated": True} | dict(facts or {}),
        ),
    )
