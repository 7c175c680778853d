"""Judges the test parts in a folder, and computes quality figures for whole pictures and for pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.bundle import Model
from edge.manifest import InputSpec
from edge.recipe import EngineChoice
from trt_build.data.cases import Case, answer, judging_engine
from trt_build.data.errors import DatasetError
from trt_build.data.parts import LabelledPart, as_learned, ignored_at, mask_of, picture, read_parts
from trt_build.figures.ranking import escape_of, overkill_of, resize_map, sweep, sweep_pixels
from trt_build.terminal.progress import counted


def read_test_parts(data: Path, *, both: bool = True) -> list[LabelledPart]:
    """Return the test parts in a folder. Raise DatasetError if there are none.

    If `both` is True, raise DatasetError unless there are good and defective parts.
    """
    parts = read_parts(data, mixed_sizes=True).test
    good = sum(part.is_good for part in parts)
    if not parts or (both and not 0 < good < len(parts)):
        raise DatasetError(
            f"{data / 'test'}: expected good and defective parts, found {good} good and {len(parts) - good} "
            "defective: there is nothing to tell apart; put pictures of either into test/good and test/<kind>"
        )
    return parts


@dataclass(frozen=True, kw_only=True)
class JudgedPart:
    """A part with its score and its anomaly map, `(1, h, w)` float32. High values mean a defect."""

    part: LabelledPart
    score: float
    map: npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The judged test parts, the quality figures from 0 to 1, and for each part whether it is rejected."""

    judged: list[JudgedPart]
    figures: dict[str, float]
    rejected: dict[str, bool]  # by the part's name


def evaluate(bundle: Model, data: Path, choice: EngineChoice) -> Evaluation:
    """Judge the test parts in a folder with the bundle's threshold, on the engine that a line would choose."""
    manifest = bundle.manifest
    (threshold,) = bundle.thresholds.values()
    judged = []
    with judging_engine(choice, bundle) as engine:
        parts = as_learned(read_test_parts(data, both=False), bundle)
        for part in counted(parts, f"judging on {engine.name} {engine.precision}"):
            outputs = answer(engine, manifest, Case(name=part.name, image=picture(part, manifest.picture)))
            judged.append(JudgedPart(part=part, score=float(outputs["score"][0]), map=outputs["map"][0]))
    return Evaluation(
        judged=judged,
        figures=figures_of(judged, (manifest.picture.height, manifest.picture.width), threshold),
        rejected={one.part.name: bool(one.score >= np.float32(threshold)) for one in judged},
    )


def figures_of(judged: Sequence[JudgedPart], size: tuple[int, int], threshold: float) -> dict[str, float]:
    """Return quality figures for pictures and pixels, and the rates of escapes and overkill, by name.

    Maps and masks are compared at `size`, the height and width of the model's input. Without masks there are no
    figures for pixels. If all parts are good, overkill is the only figure; if none is, escapes are.
    """
    good = np.array([one.score for one in judged if one.part.is_good])
    bad = np.array([one.score for one in judged if not one.part.is_good])
    if not len(bad):
        return {"overkill": overkill_of(good, threshold).rate}
    if not len(good):
        return {"escape": escape_of(bad, threshold).rate}
    images = sweep(good, bad)
    return {
        "image_auroc": images.auroc,
        "image_f1_max": images.f1_max[0],
        **_of_pixels(judged, size),
        "escape": escape_of(bad, threshold).rate,
        "overkill": overkill_of(good, threshold).rate,
    }


def _of_pixels(judged: Sequence[JudgedPart], size: tuple[int, int]) -> dict[str, float]:
    """Return the quality figures for pixels by name. Pixels that are not judged do not count.

    The dict is empty if no defective part has a mask, or if no defect lies where parts are judged.
    """
    if not any(one.part.mask for one in judged):
        return {}
    maps, masks = [resize_map(one.map, size) for one in judged], [mask_of(one.part, size) for one in judged]
    spec = InputSpec(height=size[0], width=size[1])
    ignored = [ignored_at(one.part, spec) for one in judged]
    if all(hidden is not None and hidden[mask].all() for hidden, mask in zip(ignored, masks, strict=True)):
        return {}
    pixels = sweep_pixels(maps, masks, ignored)
    return {
        "pixel_auroc": pixels.auroc,
        "pixel_ap": pixels.ap,
        "aupro30": pixels.aupro(0.3),
        "aupro05": pixels.aupro(0.05),
    }
