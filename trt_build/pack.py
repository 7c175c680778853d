"""A draft into a bundle: thresholds, golden cases with tolerances, masters, digests; complete or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle, describe, read_bundle, write_manifest
from edge.engines import open_engine
from edge.engines.base import Outputs
from edge.errors import BundleError
from edge.golden import check_golden, differences, scores
from edge.manifest import File, GoldenCase, Manifest, Precision
from edge.recipe import EngineChoice
from trt_build.dataset import Pair
from trt_build.evaluate import choose_thresholds, figures
from trt_build.verify import REFERENCE, answer, boxes_of

GOLDEN = 4  # cases
CLEAR = 0.1  # a score over its threshold is so far over it in a golden case; one under it is half of it
MARGIN = 1.5  # times the largest difference measured: another CPU rounds otherwise
LEAST = {"map": 2e-3, "score": 2e-3, "extents": 0.2}  # tolerance; covers the rounding of what is stored


def pack(
    draft: Path,
    folder: Path,
    *,
    pairs: Sequence[Pair],
    golden: Sequence[Pair] = (),
    masters: Mapping[str, Path] = MappingProxyType({}),
    precision: Precision | None = None,
    notice: str = "",
) -> Bundle:
    """Make the bundle `folder` of a draft and return it.

    `pairs` are labelled boards that the model was not trained with: thresholds are chosen and tolerances
    measured on them. Golden cases come from `golden`, or else from `pairs`. With a `precision`, the graphs
    in every other one are left out, for a small bundle. Raises BundleError where the
    folder exists or no pair makes a golden case, and EngineError where an engine does not reproduce them.
    """
    if folder.exists():
        raise BundleError(f"{folder}: exists, and a bundle never changes: choose another name")
    source = read_bundle(draft)
    with open_engine(REFERENCE, source) as reference:
        answers = [answer(reference, source.manifest, pair) for pair in pairs]
        candidates = [(pair, answer(reference, source.manifest, pair)) for pair in golden] or [
            *zip(pairs, answers, strict=True)
        ]
    boxes = [boxes_of(outputs, pair) for outputs, pair in zip(answers, pairs, strict=True)]
    thresholds = choose_thresholds(pairs, boxes)
    manifest = msgspec.structs.replace(
        source.manifest,
        name=folder.name,
        artifacts=tuple(
            artifact for artifact in source.manifest.artifacts if precision in (None, artifact.precision)
        ),
        thresholds=thresholds,
        notice=notice,
        facts=source.manifest.facts | {"held_out": figures(pairs, boxes, cut=min(thresholds.values()))},
    )
    manifest = msgspec.structs.replace(manifest, tolerances=_tolerances(source, manifest, pairs, answers))

    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    for artifact in manifest.artifacts:
        (part / artifact.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(draft / artifact.path, part / artifact.path)
    kept = {view: _write_picture(part, f"master/{view}.png", _read(path)) for view, path in masters.items()}
    manifest = msgspec.structs.replace(
        manifest,
        golden=tuple(
            _write_case(part, manifest, pair, outputs, kept) for pair, outputs in _clear(candidates, manifest)
        ),
        masters=kept,
    )
    write_manifest(part, manifest)
    packed = read_bundle(part)
    for precision in manifest.precisions():
        with open_engine(EngineChoice(precision=precision), packed) as engine:
            check_golden(engine, packed)
    part.rename(folder)
    return read_bundle(folder)


def _tolerances(
    draft: Bundle, manifest: Manifest, pairs: Sequence[Pair], expected: Sequence[Outputs]
) -> dict[Precision, dict[str, float]]:
    """By precision, what each output may differ by: more than it did on any pair and either engine."""
    tolerances: dict[Precision, dict[str, float]] = {}
    for precision in manifest.precisions():
        largest = dict(LEAST)
        for kind in ("openvino", "onnxruntime"):
            with open_engine(EngineChoice(kind=kind, precision=precision), draft) as engine:
                for pair, wanted in zip(pairs, expected, strict=True):
                    found = answer(engine, manifest, pair)
                    for name, difference in differences(found, wanted, manifest).items():
                        largest[name] = max(largest[name], round(MARGIN * difference, 4))
        tolerances[precision] = largest
    return tolerances


def _clear(candidates: Sequence[tuple[Pair, Outputs]], manifest: Manifest) -> list[tuple[Pair, Outputs]]:
    """The first pairs, one for each kind of defect first, none of which is a near thing."""
    limits = np.array([manifest.thresholds[kind] for kind in manifest.kinds])
    sure = [(p, o) for p, o in candidates if ((scores(o) > limits + CLEAR) | (scores(o) < limits / 2)).all()]
    if not sure:
        raise BundleError(
            f"none of {len(candidates)} pairs is judged clearly, every score {CLEAR:g} over its threshold or "
            "under half of it: give other pairs for the golden cases"
        )
    chosen: list[int] = []
    seen = np.zeros(len(limits), bool)
    for _ in range(min(GOLDEN, len(sure))):
        left = [i for i in range(len(sure)) if i not in chosen]
        best = max(left, key=lambda i: (int(((scores(sure[i][1]) >= limits) & ~seen).sum()), -i))
        chosen.append(best)
        seen |= scores(sure[best][1]) >= limits
    return [sure[i] for i in chosen]


def _write_case(
    part: Path, manifest: Manifest, pair: Pair, outputs: Outputs, kept: Mapping[str, File]
) -> GoldenCase:
    """The map is rounded to thousandths, and extents that nobody reads are left out: a tenth of the size.

    A master that is among those `kept` is not written twice.
    """
    read = (outputs["map"] >= min(manifest.thresholds.values())).any(axis=1, keepdims=True)
    stored: dict[str, Any] = {
        "map": np.round(outputs["map"], 3).astype(np.float16),
        "extents": np.where(read, outputs["extents"], 0).astype(np.float16),
    }
    frame = _write_picture(part, f"golden/{pair.name}.png", pair.board)
    np.savez_compressed(part / f"golden/{pair.name}.npz", **stored)
    expected = File(**describe(part, f"golden/{pair.name}.npz"))
    master = _write_picture(part, f"golden/{pair.name}_master.png", pair.master)
    for file in kept.values():
        if file.sha256 == master.sha256:
            (part / master.path).unlink()
            master = file
    return GoldenCase(frame=frame, master=master, expected=expected)


def _read(path: Path) -> NDArray[np.uint8]:
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if picture is None or picture.dtype != np.uint8:
        raise BundleError(f"{path}: not an 8-bit picture that OpenCV reads: save the master as PNG")
    return np.asarray(picture, np.uint8)


def _write_picture(part: Path, name: str, picture: NDArray[np.uint8]) -> File:
    (part / name).parent.mkdir(exist_ok=True)
    cv2.imwrite(str(part / name), picture, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    return File(**describe(part, name))
