"""Reads the JSON text of a manifest, in the current format or in format 1, and checks it for contradictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from .documents.mistakes import mistakes
from .errors import BundleError, together
from .manifest import FORMAT, DraftManifest, Manifest, ModelManifest, Precision, least_rejected
from .tiles import MOST_TILES

#: Largest tolerance of a score, divided by the lowest threshold.
MOST_TOLERANCE = 0.5


def check_tolerance(precision: Precision, score: float, thresholds: dict[str, float]) -> None:
    """Raise BundleError if `score`, the score's tolerance, is too large for golden frames to prove anything."""
    most = MOST_TOLERANCE * min(abs(threshold) for threshold in thresholds.values())
    if score > most:
        raise BundleError(
            f"tolerances.{precision}.score: expected at most {most:.4g}, which is {MOST_TOLERANCE:.0%} of the "
            f"lowest threshold, found {score:.4g}: this precision is too coarse for the model: export it with "
            "more pictures, or without this precision"
        )


def parse_manifest(data: bytes) -> DraftManifest | Manifest:
    """Parse a manifest's JSON text. Raise BundleError, which names the wrong keys, if the text is wrong."""
    try:
        document = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BundleError(f"not a JSON file: {error}") from error
    version = document.get("format") if isinstance(document, dict) else None
    if version == 1:
        document = _of_format_1(document)
    elif version != FORMAT:
        raise BundleError(f"format: expected {FORMAT}, found {version!r}: pack the bundle anew")
    kind: type[DraftManifest | Manifest] = DraftManifest if document.get("state") == "draft" else Manifest
    try:
        manifest = msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        found = list(mistakes(kind, document, _key))
        raise BundleError(f"{together(found or [str(error)])}: pack the bundle anew") from error
    _check(manifest)
    return manifest


def _of_format_1(document: dict[str, Any]) -> dict[str, Any]:
    """Convert a manifest of format 1 to the current format.

    In format 1, `facts` said whether a draft was calibrated, and a draft that was not calibrated had made-up
    thresholds. A packed bundle differed from a draft only by its golden cases. A calibration's threshold was
    the highest score that passed.
    """
    packed = bool(document.get("golden")) or document.get("method") == "constant"
    new = document | {"format": FORMAT, "state": "packed" if packed else "draft"}
    metadata = new.pop("facts", {})
    calibrated = isinstance(metadata, dict) and metadata.pop("calibrated", False)
    new["metadata"] = metadata
    if not packed:
        made_up = () if calibrated else ("thresholds",)
        for key in ("golden", "tolerances", "masters", "notice", *made_up):
            new.pop(key, None)
    known = new.get("calibration")
    if isinstance(known, dict) and isinstance(known.get("threshold"), (int, float)):
        known["threshold"] = least_rejected(known["threshold"])
    return new


def _key(path: Sequence[str | int]) -> str:
    """Return the path of a key as it is written for people, such as `artifacts[1].precision`."""
    steps = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in path]
    return "".join(steps).removeprefix(".") or "the manifest"


def _check(manifest: DraftManifest | Manifest) -> None:
    """Raise BundleError if parts of the manifest contradict each other."""
    kinds, thresholds = manifest.kinds, manifest.thresholds
    _check_outputs(manifest)
    if thresholds is not None and set(thresholds) != set(kinds):
        raise BundleError(f"thresholds: expected one for each of {kinds}, found {sorted(thresholds)}")
    _check_graphs(manifest)
    if isinstance(manifest, Manifest):
        _check_tolerances(manifest)
    if (known := manifest.calibration) and [*known.scores] != sorted(known.scores):
        raise BundleError("calibration.scores: expected them in rising order: run trt-build calibrate again")
    if known and len(known.scores) != known.n:
        raise BundleError(
            f"calibration.scores: expected {known.n}, found {len(known.scores)}: run trt-build calibrate again"
        )


def _check_tolerances(manifest: Manifest) -> None:
    """Raise BundleError if a tolerance for an output is missing, or if the score's tolerance is too large."""
    for precision in manifest.precisions():
        tolerances = manifest.tolerances.get(precision, {})
        missing = {*manifest.outputs, "score"} - set(tolerances)
        if missing:
            raise BundleError(f"tolerances.{precision}: none for {sorted(missing)}: pack the bundle anew")
        check_tolerance(precision, tolerances["score"], manifest.thresholds)


def _check_outputs(manifest: ModelManifest) -> None:
    """Raise BundleError unless the outputs have the names and shapes that the model's method needs."""
    spec, kinds, stride = manifest.input, manifest.kinds, manifest.stride
    if manifest.method == "matcher":
        shape = manifest.outputs.get("embedding", ())
        if kinds != ("product",) or len(shape) != 2 or shape[0] != 1:
            raise BundleError(
                f"outputs.embedding: expected (1, D) and the kind 'product', found {shape} and {kinds}: "
                "export the model anew"
            )
        return
    if "score" in manifest.outputs and (manifest.outputs["score"] != (1,) or len(kinds) != 1):
        raise BundleError(
            f"outputs.score: expected (1,) for one kind, found {manifest.outputs['score']} for {kinds}: "
            "export the model anew"
        )
    if not manifest.grid.fits(stride) or manifest.grid.count > MOST_TILES:
        raise BundleError(
            f"tiles: expected at most {MOST_TILES} whose maps of stride {stride} lie in one grid, found "
            f"{list(manifest.tiles)}: train and export the model anew"
        )
    cells = (1, len(kinds), spec.height // stride, spec.width // stride)
    if manifest.outputs.get("map") != cells:
        raise BundleError(
            f"outputs.map: expected {cells} for {len(kinds)} kinds at stride {stride}, "
            f"found {manifest.outputs.get('map')}: export the model anew"
        )


def _check_graphs(manifest: ModelManifest) -> None:
    """Raise BundleError if a graph that the method needs is missing, or if a graph is named twice."""
    graphs = [(artifact.role, artifact.precision) for artifact in manifest.artifacts]
    needed = {"comparator": ("judge", "reference"), "constant": ()}.get(manifest.method, ("judge",))
    roles = {role for role, _ in graphs}
    for role in needed:
        if role not in roles:
            raise BundleError(f"artifacts: no graph for the role {role!r}: export the model anew")
    if manifest.artifacts and "fp32" not in manifest.precisions():
        raise BundleError(
            f"artifacts: expected a judge in fp32 beside {', '.join(manifest.precisions())}, to which a "
            "line falls back: export the model anew, and pack it with a later version"
        )
    for precision in manifest.precisions() if "reference" in needed else ():
        if ("reference", precision) not in graphs:
            raise BundleError(f"artifacts: a judge in {precision}, but no reference: export the model anew")
    if "reference" in needed and not manifest.features:
        raise BundleError("features: expected the names of what the reference graph gives, found none")
    if len(set(graphs)) != len(graphs):
        raise BundleError(f"artifacts: {graphs} names a role and precision twice: take one out")
