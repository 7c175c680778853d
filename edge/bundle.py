"""The model bundle: a folder with a manifest, graphs and golden cases, read and verified.

A bundle never changes: its files are named in `manifest.json` with size and SHA-256, and the SHA-256
of the manifest is the bundle's identity.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from .errors import BundleError
from .manifest import Artifact, File, Manifest, Precision, Role, parse_manifest

MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class Golden:
    """A golden case: what the engine is given, `(1, C, H, W)` uint8, and what it has to answer."""

    name: str
    image: NDArray[np.uint8]
    master: NDArray[np.uint8] | None
    expected: dict[str, NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A bundle whose files have been verified."""

    folder: Path
    manifest: Manifest
    digest: str

    def artifact(self, role: Role, precision: Precision) -> Path:
        """The graph for a role in a precision; BundleError where the bundle has none."""
        return self.folder / self._graph(role, precision).path

    def digest_of_graph(self, role: Role, precision: Precision) -> str:
        """The SHA-256 of that graph; BundleError where the bundle has none."""
        return self._graph(role, precision).sha256

    def _graph(self, role: Role, precision: Precision) -> Artifact:
        for artifact in self.manifest.artifacts:
            if (artifact.role, artifact.precision) == (role, precision):
                return artifact
        raise BundleError(
            f"{self.folder / MANIFEST}: artifacts: no {precision} graph for the role {role!r}; "
            f"the judge comes in {', '.join(self.manifest.precisions()) or 'nothing'}"
        )

    def golden(self) -> list[Golden]:
        """The golden cases, in the manifest's order."""
        spec = self.manifest.input
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
        """The master of a view, `(H, W)` grey or `(H, W, 3)` BGR; BundleError where there is none."""
        file = self.manifest.masters.get(view)
        if file is None:
            known = ", ".join(self.manifest.masters) or "none"
            raise BundleError(f"{self.folder}: no master for view {view!r}; the bundle has {known}")
        return self._picture(file)

    def _picture(self, file: File) -> NDArray[np.uint8]:
        gray = self.manifest.input.color == "gray"
        data = np.frombuffer((self.folder / file.path).read_bytes(), np.uint8)
        picture = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR)
        if picture is None:
            raise BundleError(
                f"{self.folder / file.path}: not a picture that OpenCV reads: pack the bundle anew"
            )
        return picture.astype(np.uint8, copy=False)

    def _outputs(self, file: File) -> dict[str, NDArray[np.float32]]:
        with np.load(io.BytesIO((self.folder / file.path).read_bytes())) as arrays:
            outputs = {name: arrays[name].astype(np.float32) for name in arrays.files}
        shapes = {name: array.shape for name, array in outputs.items()}
        if shapes != (expected := self.manifest.outputs | self.manifest.answers):
            raise BundleError(
                f"{self.folder / file.path}: expected {expected}, found {shapes}: pack the bundle anew"
            )
        return outputs


def read_bundle(folder: Path) -> Bundle:
    """Read a bundle and verify that nothing of it is missing or altered.

    Raises BundleError, which names file and key and says what to do.
    """
    path = folder / MANIFEST
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: cannot read the manifest: {error.strerror}: is this a bundle?") from error
    try:
        manifest = parse_manifest(data)
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error
    for key, file in manifest.files().items():
        _verify(path, key, file)
    return Bundle(folder=folder, manifest=manifest, digest=hashlib.sha256(data).hexdigest())


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json`, laid out for people; the one that was there stays where that fails.

    BundleError where the disk is full, or nothing may be written.
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
    """What a `File` says about a file in the folder: path, size and digest."""
    data = (folder / path).read_bytes()
    return {"path": path, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def _verify(manifest: Path, key: str, file: File) -> None:
    path = (manifest.parent / file.path).resolve()
    if not path.is_relative_to(manifest.parent.resolve()):
        raise BundleError(f"{manifest}: {key}.path: {file.path!r} leads out of the bundle's folder")
    if not path.is_file():
        raise BundleError(f"{manifest}: {key}.path: {file.path!r} is missing: copy the whole bundle again")
    found = describe(manifest.parent, file.path)
    if (found["bytes"], found["sha256"]) != (file.bytes, file.sha256):
        raise BundleError(
            f"{manifest}: {key}: {file.path!r} was altered: expected {file.bytes} bytes, SHA-256 "
            f"{file.sha256[:12]}…, found {found['bytes']} bytes, {found['sha256'][:12]}…: "
            "copy the whole bundle again"
        )
