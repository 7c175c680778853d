"""Judges the test parts of a folder, and computes image and pixel figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.bundle import Model
from edge.recipe import EngineChoice
from trt_build.data.cases import Case, answer, judging_engine
from trt_build.data.errors import DatasetError
from trt_build.data.parts import LabelledPart, mask_of, picture, read_parts
from trt_build.figures.ranking import escape_and_overkill, resize_map, sweep, sweep_pixels
from trt_build.terminal.progress import counted


def read_test_parts(data: Path) -> list[LabelledPart]:
    """Return the test parts of a folder; DatasetError unless there are good and defective ones."""
    parts = read_parts(data, mixed_sizes=True).test
    good = sum(part.is_good for part in parts)
    if not 0 < good < len(parts):
        raise DatasetError(
            f"{data / 'test'}: expected good and defective parts, found {good} good and {len(parts) - good} "
            "defective: there is nothing to tell apart; put pictures of either into test/good and test/<kind>"
        )
    return parts


@dataclass(frozen=True, kw_only=True)
class JudgedPart:
    """A part with its score and its map `(1, h, w)` float32 of any size; higher is worse."""

    part: LabelledPart
    score: float
    map: npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The judged test parts, and the figures on them, 0 to 1."""

    judged: list[JudgedPart]
    figures: dict[str, float]
    rejected: dict[str, bool]  # by the part's name


def evaluate(bundle: Model, data: Path, choice: EngineChoice) -> Evaluation:
    """Judge the test parts of a folder on the engine that a line would take, with the bundle's threshold."""
    manifest = bundle.manifest
    (threshold,) = bundle.thresholds.values()
    judged = []
    with judging_engine(choice, bundle) as engine:
        for part in counted(read_test_parts(data), f"judging on {engine.name} {engine.precision}"):
            outputs = answer(engine, manifest, Case(name=part.name, image=picture(part, manifest.input)))
            judged.append(JudgedPart(part=part, score=float(outputs["score"][0]), map=outputs["map"][0]))
    return Evaluation(
        judged=judged,
        figures=figures_of(judged, (manifest.input.height, manifest.input.width), threshold),
        rejected={one.part.name: bool(one.score >= np.float32(threshold)) for one in judged},
    )


def figures_of(judged: Sequence[JudgedPart], size: tuple[int, int], threshold: float) -> dict[str, float]:
    """Return image and pixel figures, and the rates of escapes and overkill at `threshold`.

    `size` is height and width of the model's input, and of the maps compared. Without masks there are no pixel
    figures.
    """
    good = np.array([one.score for one in judged if one.part.is_good])
    bad = np.array([one.score for one in judged if not one.part.is_good])
    escapes, overkill = escape_and_overkill(good, bad, threshold)
    images = sweep(good, bad)
    return {
        "image_auroc": images.auroc,
        "image_f1_max": images.f1_max[0],
        **_of_pixels(judged, size),
        "escape": escapes.rate,
        "overkill": overkill.rate,
    }


def _of_pixels(judged: Sequence[JudgedPart], size: tuple[int, int]) -> dict[str, float]:
    """Return pixel figures; an empty dict if no defective part has a mask."""
    if not any(one.part.mask for one in judged):
        return {}
    maps, masks = [resize_map(one.map, size) for one in judged], [mask_of(one.part, size) for one in judged]
    pixels = sweep_pixels(maps, masks)
    return {
        "pixel_auroc": pixels.auroc,
        "pixel_ap": pixels.ap,
        "aupro30": pixels.aupro(0.3),
        "aupro05": pixels.aupro(0.05),
    }
