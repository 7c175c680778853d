"""Reads a model's folder and verifies its files. The folder holds a draft or a packed bundle.

A bundle has golden frames and may have masters. `manifest.json` names every file with its size and SHA-256. A
bundle never changes, and the SHA-256 of its manifest is its identity.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from .errors import BundleError
from .manifest import Artifact, DraftManifest, File, Manifest, ModelManifest, Precision, Role
from .manifest_file import parse_manifest
from .npz import read_arrays
from .text import DETAIL_BYTES, fitted

MANIFEST = "manifest.json"
#: Far more than a manifest has whose model was calibrated on a million pictures.
MANIFEST_BYTES = 64_000_000
#: How an ONNX file names another file, with weights: a key of a StringStringEntryProto, in protobuf's encoding.
_ELSEWHERE = b"\n\x08location\x12"


@dataclass(frozen=True, kw_only=True)
class Golden:
    """A golden frame: a whole picture for an engine, and the outputs that the engine must reproduce."""

    name: str
    image: NDArray[np.uint8]  # (1, C, H, W)
    master: NDArray[np.uint8] | None  # (1, C, H, W): the master, or a matcher's drawing
    expected: dict[str, NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model's folder after it was read and verified: a draft or a packed bundle."""

    folder: Path
    manifest: ModelManifest
    digest: str  # SHA-256 of the manifest's file

    @property
    def thresholds(self) -> dict[str, float]:
        """The lowest score that is rejected, for each kind of defect. Raises BundleError if none is set yet."""
        if self.manifest.thresholds is None:
            raise BundleError(f"{self.folder}: its thresholds are not set: run trt-build calibrate")
        return self.manifest.thresholds

    def artifact(self, role: Role, precision: Precision) -> Path:
        """Return the path of the graph with this role and precision. Raise BundleError if no graph has them."""
        return self.folder / self._graph(role, precision).path

    def ignored(self) -> NDArray[np.bool_] | None:
        """Return which pixels of the whole picture are ignored, `(H, W)` bool; None if none are.

        Raise BundleError if the mask does not have the picture's size, or ignores everything.
        """
        file, spec = self.manifest.ignored, self.manifest.picture
        if file is None:
            return None
        picture = _decoded(self.folder / file.path, cv2.IMREAD_GRAYSCALE)
        if picture is None or picture.shape != (spec.height, spec.width) or picture.all():
            raise BundleError(
                f"{self.folder / file.path}: expected a mask of {spec.width}x{spec.height} with black pixels, "
                "which are judged: export the model anew"
            )
        return np.asarray(picture > 0)

    def digest_of_graph(self, role: Role, precision: Precision) -> str:
        """Return the SHA-256 of the graph with this role and precision. Raise BundleError if none has them."""
        return self._graph(role, precision).sha256

    def _graph(self, role: Role, precision: Precision) -> Artifact:
        for artifact in self.manifest.artifacts:
            if (artifact.role, artifact.precision) == (role, precision):
                return artifact
        raise BundleError(
            f"{self.folder / MANIFEST}: artifacts: no {precision} graph for the role {role!r}; "
            f"the judge comes in {', '.join(self.manifest.precisions()) or 'nothing'}"
        )


@dataclass(frozen=True, kw_only=True)
class Draft(Model):
    """A model that is exported but not packed. Its thresholds may still be unset."""

    manifest: DraftManifest


@dataclass(frozen=True, kw_only=True)
class Bundle(Model):
    """A packed model. Its files never change."""

    manifest: Manifest

    def golden(self) -> list[Golden]:
        """Return the golden frames, in the order in which the manifest lists them."""
        spec = self.manifest.picture
        return [
            Golden(
                name=case.frame.path,
                image=spec.tensor(self._picture(case.frame)),
                master=spec.tensor(self._picture(case.master)) if case.master else None,
                expected=self._outputs(case.expected),
            )
            for case in self.manifest.golden
        ]

    def master(self, view: str) -> NDArray[np.uint8]:
        """Return the master of a view: the picture with which parts of this view are compared.

        The picture is `(H, W)` grey or `(H, W, 3)` BGR, uint8. Raise BundleError if the bundle has no master
        for the view.
        """
        file = self.manifest.masters.get(view)
        if file is None:
            known = ", ".join(self.manifest.masters) or "none"
            raise BundleError(f"{self.folder}: no master for view {view!r}; the bundle has {known}")
        return self._picture(file)

    def _picture(self, file: File) -> NDArray[np.uint8]:
        """Read a picture of the bundle: `(H, W)` uint8 if the model is grey, otherwise `(H, W, 3)` BGR."""
        gray = self.manifest.input.color == "gray"
        picture = _decoded(self.folder / file.path, cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR)
        if picture is None:
            raise BundleError(
                f"{self.folder / file.path}: not a picture that OpenCV reads: pack the bundle anew"
            )
        return picture.astype(np.uint8, copy=False)

    def _outputs(self, file: File) -> dict[str, NDArray[np.float32]]:
        """Read a golden frame's expected outputs. Raise BundleError if they do not fit the model."""
        path, expected = self.folder / file.path, self.manifest.outputs | self.manifest.answers
        outputs = read_arrays(path, most=sum(map(math.prod, expected.values())))
        shapes = {name: array.shape for name, array in outputs.items()}
        if shapes != expected:
            raise BundleError(f"{path}: expected {expected}, found {shapes}: pack the bundle anew")
        return outputs


def _decoded(path: Path, flags: int) -> NDArray[Any] | None:
    """Return a picture as OpenCV decodes it by its `flags`; None if it cannot, for example an empty file."""
    try:
        return cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), flags)
    except cv2.error:
        return None


def read_bundle(folder: Path) -> Bundle:
    """Read a packed bundle and verify every file that its manifest names.

    Raise BundleError if a file is missing or altered, or if the folder holds a draft. The error names the
    folder or file and says what to do.
    """
    model = read_model(folder)
    if isinstance(model, Draft):
        raise BundleError(f"{folder}: expected a packed bundle, found a draft: run trt-build pack")
    return model


def read_draft(folder: Path) -> Draft:
    """Read a draft. Raise BundleError if a file is missing or altered, or if the folder holds a bundle."""
    model = read_model(folder)
    if isinstance(model, Bundle):
        raise BundleError(
            f"{folder}: is packed, and a bundle never changes: change the draft and pack it again"
        )
    return model


def read_model(folder: Path) -> Draft | Bundle:
    """Read a draft or a bundle. Raise BundleError if a file that its manifest names is missing or altered."""
    path = folder / MANIFEST
    try:
        with open(path, "rb") as file:
            data = file.read(MANIFEST_BYTES + 1)
    except OSError as error:
        raise BundleError(f"{path}: cannot read the manifest: {error.strerror}: is this a bundle?") from error
    if len(data) > MANIFEST_BYTES:
        raise BundleError(f"{path}: longer than {MANIFEST_BYTES} bytes: is this a bundle?")
    try:
        manifest = parse_manifest(data)
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error
    for key, described in manifest.files().items():
        _verify(path, key, described)
    digest = hashlib.sha256(data).hexdigest()
    if isinstance(manifest, DraftManifest):
        return Draft(folder=folder, manifest=manifest, digest=digest)
    return Bundle(folder=folder, manifest=manifest, digest=digest)


def write_manifest(folder: Path, manifest: DraftManifest | Manifest) -> None:
    """Write a manifest as `manifest.json` into the folder, indented so that people can read it.

    Raise BundleError if the disk is full or the folder is not writable. An earlier `manifest.json` then stays.
    """
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    beside = folder / f"{MANIFEST}.part"
    try:
        beside.write_bytes(text + b"\n")
        beside.replace(folder / MANIFEST)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise BundleError(
            f"{folder / MANIFEST}: cannot be written: {error.strerror}: make room, or make its folder writable"
        ) from error


def describe(folder: Path, path: str) -> dict[str, Any]:
    """Return the fields of a `File` for the file at `path` in `folder`: its path, SHA-256 and size."""
    data = (folder / path).read_bytes()
    return {"path": path, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def _verify(manifest: Path, key: str, file: File) -> None:
    """Raise BundleError unless the file is in the manifest's folder, with the size and SHA-256 in `file`."""
    named = f"{manifest}: {key}.path: {fitted(file.path, DETAIL_BYTES)!r}"
    try:
        path = (manifest.parent / file.path).resolve()
        if not path.is_relative_to(manifest.parent.resolve()):
            raise BundleError(f"{named} leads out of the bundle's folder")
        is_there = path.is_file()
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, BundleError):
            raise
        # It is too long or has a zero byte, or links lead in a circle.
        raise BundleError(f"{named} is no name of a file: pack the bundle anew") from error
    if not is_there:
        raise BundleError(f"{named} is missing: copy the whole bundle again")
    found = describe(manifest.parent, file.path)
    if (found["bytes"], found["sha256"]) != (file.bytes, file.sha256):
        raise BundleError(
            f"{manifest}: {key}: {file.path!r} was altered: expected {file.bytes} bytes, SHA-256 "
            f"{file.sha256[:12]}…, found {found['bytes']} bytes, {found['sha256'][:12]}…: "
            "copy the whole bundle again"
        )
    if isinstance(file, Artifact) and _ELSEWHERE in path.read_bytes():
        raise BundleError(
            f"{manifest}: {key}: {file.path!r} has weights in another file, which no digest covers: export the "
            "model anew, with all weights in the graph"
        )
