"""Writes and reads a black-box file, a zip with a line's recipe and its last parts, verdicts and frames."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from ..documents.address import without_secrets
from ..errors import PictureError, RecordingError
from ..messages import Part, Running
from ..pictures import decode
from ..recipe import Recipe, Source, Video
from .kept import Kept

VERSION = 1
HEAD, PARTS = "box.json", "parts.jsonl"
#: What `zipfile` raises where a file is damaged. RuntimeError: it is encrypted, or of a later version of zip.
_DAMAGED = (ValueError, EOFError, RuntimeError, struct.error, zipfile.BadZipFile, zlib.error)


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the line: the file `box.json`."""

    v: int = VERSION
    line: str
    run: str  # the run's number in hexadecimal
    why: str  # what the file was written after
    written_at: str  # UTC, ISO 8601
    recipe_digest: str  # SHA-256 of the recipe file
    bundle_digest: str  # SHA-256 of the bundle's manifest; of several bundles, SHA-256 of their digests
    pictures: dict[str, str]  # path of each master, drawing and mask that the recipe names -> SHA-256
    running: Running | None  # the engines of the line; None if infer had never been ready
    recipe: Recipe  # with absolute paths, and without the secrets in a camera's address


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What one camera saw of a part: the row in its ledger, and the name of the frame's file in the zip."""

    part: Part
    frame: str | None  # None if there was no whole frame, or if it was overwritten


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A part: a line of the file `parts.jsonl`."""

    number: int  # of the verdict in its run
    topic: str
    seen: tuple[Seen, ...]
    verdict: msgspec.Raw  # the verdict's JSON, as it was published


def png_of(frame: NDArray[np.uint8]) -> bytes:
    """Return a frame, `(H, W)` or `(H, W, 3)` BGR uint8, as a PNG, which keeps each pixel."""
    # Of the settings that were tried on rendered boards, this one is the fastest and gives the smallest files.
    fast = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)
    return bytes(cv2.imencode(".png", frame, fast)[1])


def without_passwords(recipe: Recipe) -> Recipe:
    """Return a copy of the recipe in which no camera's address has a user, a password or a token."""
    cameras = tuple(msgspec.structs.replace(one, source=_public(one.source)) for one in recipe.camera)
    return msgspec.structs.replace(recipe, source=_public(recipe.source), camera=cameras)


def _public(source: Source) -> Source:
    if not isinstance(source, Video):
        return source
    return msgspec.structs.replace(source, address=without_secrets(source.address))


class GivenUp(Exception):
    """The file was not finished, because the recorder ends."""


def write_box(
    path: Path, head: Head, parts: Sequence[Kept], gives_up: Callable[[], bool] = lambda: False
) -> None:
    """Write the file. Raise OSError if that fails, and GivenUp as soon as `gives_up` returns true."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(HEAD, msgspec.json.format(msgspec.json.encode(head)))
        rows = []
        for kept in parts:
            seen = []
            for look in kept.looks:
                name = None
                if gives_up():
                    raise GivenUp(path.name)
                if look.frame is not None:
                    name = f"frames/{kept.number:06d}_{look.part.part_id}_{look.part.camera}.png"
                    file.writestr(name, png_of(look.frame))
                seen.append(Seen(part=look.part, frame=name))
            rows.append(
                Row(
                    number=kept.number,
                    topic=kept.topic,
                    seen=tuple(seen),
                    verdict=msgspec.Raw(kept.body),
                )
            )
        file.writestr(PARTS, b"".join(msgspec.json.encode(row) + b"\n" for row in rows))


class Box:
    """A black-box file that `write_box` wrote. `with` opens it.

    All methods raise RecordingError, which names the file, if it is damaged or of another version.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Box:
        try:
            self._file = zipfile.ZipFile(self._path)
        except (OSError, *_DAMAGED) as error:
            raise RecordingError(f"{self._path}: cannot be opened as a black box: {error}") from error
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def head(self) -> Head:
        """Return what is known of the line."""
        data = self._read(HEAD)
        try:
            version = msgspec.json.decode(data, type=dict[str, msgspec.Raw]).get("v", msgspec.Raw(b"none"))
            if bytes(version) != str(VERSION).encode():
                raise RecordingError(
                    f"{self._path}: a black box of version {bytes(version).decode()}, expected {VERSION}: "
                    "replay it with the version of Linejudge that wrote it"
                )
            return msgspec.json.decode(data, type=Head)
        except msgspec.MsgspecError as error:
            raise RecordingError(f"{self._path}: {HEAD}: not of this version of Linejudge: {error}") from error

    def rows(self) -> Iterator[Row]:
        """Yield the parts, oldest first."""
        for number, line in enumerate(self._read(PARTS).splitlines(), 1):
            try:
                yield msgspec.json.decode(line, type=Row)
            except msgspec.MsgspecError as error:
                raise RecordingError(f"{self._path}: {PARTS}, line {number}: {error}") from error

    def frame(self, name: str) -> NDArray[np.uint8]:
        """Return a frame as `(H, W)` or `(H, W, 3)` BGR, uint8."""
        try:
            return np.asarray(decode(self._read(name), name), np.uint8)
        except PictureError as error:
            raise RecordingError(f"{self._path}: {error}") from error

    def _read(self, name: str) -> bytes:
        try:
            return self._file.read(name)
        except (KeyError, OSError, *_DAMAGED) as error:
            raise RecordingError(f"{self._path}: {name} cannot be read: {error}") from error
