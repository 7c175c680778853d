"""Packs a calibrated draft as a bundle, completely or not at all, with golden frames, tolerances, masters."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle, Draft, describe, read_bundle, read_draft, write_manifest
from edge.engines import open_engine
from edge.engines.base import Outputs
from edge.errors import BundleError, RecipeError
from edge.image.picture import read_picture
from edge.judges.golden import check_golden
from edge.manifest import File, GoldenCase, InputSpec, Manifest, Precision
from trt_build.data.cases import Case, answer, painted
from trt_build.data.pictures import save
from trt_build.engines.build import copy_engines
from trt_build.engines.overflow import check_sums
from trt_build.engines.runs import engines_of
from trt_build.engines.saturation import REFERENCE
from trt_build.packing.golden import choose_golden, compare_engines
from trt_build.terminal.progress import counted
from trt_build.whole import whole


def pack(
    draft: Path,
    folder: Path,
    *,
    cases: Iterable[Case],
    golden: Iterable[Case] = (),
    masters: Mapping[str, Path] = MappingProxyType({}),
    precision: Precision | None = None,
    notice: str = "",
) -> Bundle:
    """Make a bundle in `folder` from a calibrated draft, and return the bundle.

    `cases` are pictures that the model was not trained with. The tolerances of golden frames are measured on
    `cases` and `golden`. Golden frames are chosen from `golden` or, if that is empty, from `cases`. If
    `precision` is given, only its graphs and those of FP32 are packed. Raise BundleError if the folder exists,
    the draft is not calibrated or no case can be a golden frame. Raise SumsOverflow if an INT8 graph could
    overflow on some processors. Raise EngineError if an engine here misses a golden frame or saturates.
    """
    if folder.exists():
        raise BundleError(f"{folder}: exists, and a bundle never changes: choose another name")
    source = read_draft(draft)
    manifest = _manifest(source, folder.name, precision, notice)
    for artifact in manifest.artifacts:
        if artifact.precision == "int8":
            check_sums(draft / artifact.path)
    ignored = source.ignored()
    pictures, meant = ([painted(case, ignored) for case in some] for some in (cases, golden))
    with open_engine(REFERENCE, source) as reference:
        answers = [
            (case, answer(reference, source.manifest, case))
            for case in counted((*pictures, *meant), "judging on the reference")
        ]
    tolerances, agreed = compare_engines(source, manifest, answers)
    manifest = msgspec.structs.replace(manifest, tolerances=tolerances)
    start = len(pictures) if meant else 0
    chosen = choose_golden(answers[start:], agreed[start:], manifest)

    with whole(folder) as part:
        for artifact in manifest.artifacts:
            (part / artifact.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(draft / artifact.path, part / artifact.path)
        if manifest.ignored:
            shutil.copyfile(draft / manifest.ignored.path, part / manifest.ignored.path)
        copy_engines(draft, part, manifest)
        kept = {view: _write_picture(part, f"master/{view}.png", _read(path)) for view, path in masters.items()}
        manifest = msgspec.structs.replace(
            manifest,
            golden=tuple(_write_case(part, manifest, case, outputs, kept) for case, outputs in chosen),
            masters=kept,
        )
        write_manifest(part, manifest)
        packed = read_bundle(part)
        for precision in manifest.precisions():
            for unopened in engines_of(packed, precision):
                with unopened as engine:
                    check_golden(engine, packed)
    return read_bundle(folder)


def _manifest(draft: Draft, name: str, precision: Precision | None, notice: str) -> Manifest:
    """Return the bundle's manifest, still without golden cases, tolerances and masters.

    Raise BundleError if the draft is not calibrated, or was calibrated on a graph that is not in the bundle.
    """
    known = draft.manifest
    artifacts = tuple(
        artifact
        for artifact in known.artifacts
        if precision is None or artifact.precision in (precision, "fp32")
    )
    judges = [artifact.sha256 for artifact in artifacts if artifact.role == "judge"]
    fields = msgspec.structs.asdict(known) | {
        "state": "packed",
        "name": name,
        "artifacts": artifacts,
        "thresholds": draft.thresholds,
        "notice": notice,
    }
    if known.calibration and known.calibration.artifact not in judges:
        raise BundleError(
            f"{draft.folder}: was calibrated on {known.calibration.engine}, and in the bundle a graph of "
            "another kind would judge: export the draft with the graphs that are wanted, then run trt-build "
            "calibrate"
        )
    return Manifest(**fields)


def _write_case(
    part: Path, manifest: Manifest, case: Case, outputs: Outputs, kept: Mapping[str, File]
) -> GoldenCase:
    """Write a golden case into the folder `part`, and return its entry for the manifest.

    To save nine tenths of the size, a comparator's map is rounded, and its extents are set to 0 at places where
    the map is below every threshold. A master that is among the masters in `kept` is not written twice.
    """
    stored: dict[str, Any] = dict(outputs)
    if "extents" in outputs:
        stored["map"] = np.round(outputs["map"], 3).astype(np.float16)
        read = (outputs["map"] >= min(manifest.thresholds.values())).any(axis=1, keepdims=True)
        stored["extents"] = np.where(read, outputs["extents"], 0).astype(np.float16)
    frame = _write_picture(part, f"golden/{case.name}.png", _picture(case.image, manifest.input))
    np.savez_compressed(part / f"golden/{case.name}.npz", **stored)
    expected = File(**describe(part, f"golden/{case.name}.npz"))
    if case.master is None:
        return GoldenCase(frame=frame, expected=expected)
    master = _write_picture(part, f"golden/{case.name}_master.png", _picture(case.master, manifest.input))
    for file in kept.values():
        if file.sha256 == master.sha256:
            (part / master.path).unlink()
            master = file
    return GoldenCase(frame=frame, master=master, expected=expected)


def _picture(image: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.uint8]:
    """Return the picture from which `spec.tensor` made this input of an engine."""
    if spec.channels == 1:
        return np.asarray(image[0, 0], np.uint8)
    planes = image[0, ::-1] if spec.color == "rgb" else image[0]
    return np.ascontiguousarray(np.moveaxis(planes, 0, -1))


def _read(path: Path) -> NDArray[np.uint8]:
    try:
        return read_picture(path)
    except RecipeError as error:
        raise BundleError(str(error)) from error


def _write_picture(part: Path, name: str, picture: NDArray[np.uint8]) -> File:
    (part / name).parent.mkdir(exist_ok=True)
    smallest = (cv2.IMWRITE_PNG_COMPRESSION, 9, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)
    save(part / name, picture, *smallest)
    return File(**describe(part, name))
