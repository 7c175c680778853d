"""Presents known parts to a line as pictures, each part by one picture for each camera that sees it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from ..errors import LineError, PictureError
from ..pictures import read
from ..recipe import Camera, Folder
from ..sources.listing import Views, files_of, folder_of, reference
from .orders import PULLED, Step

#: The pictures of one part by camera: each one's file and view.
Known = Mapping[str, tuple[Path, str]]


class Pictures:
    """The pictures of good and of bad parts, which are presented in turn, and again from the first.

    They go to `into`, for each camera to the folder of its name. For several cameras, `good` and `bad` are
    folders as well, with a folder for each camera and the same file names in each of these. For one camera,
    they are folders of pictures, or paths with *, ** and ?, in which {view} may stand for the part that is the
    view. In a folder, the views are where the recipe has them in its own names. Raise LineError if a picture is
    missing.
    """

    def __init__(self, good: str, bad: str, cameras: Sequence[Camera], into: Path) -> None:
        self._into, self._count = into, 0
        found = {"good": known_parts(good, "--good", cameras), "bad": known_parts(bad, "--bad", cameras)}
        self._turns = {part: itertools.cycle(parts) for part, parts in found.items()}
        for camera in cameras:
            (into / camera.name).mkdir()

    def present(self, step: Step, before: Step | None) -> list[str]:
        """Give the line the next part of the step's kind, with the step's fault. Return its pictures' names."""
        self._count += 1
        shown = []
        for camera, (path, view) in next(self._turns[step.part]).items():
            is_faulty = step.camera in ("", camera)
            if is_faulty and step.fault == PULLED:
                continue
            beside = self._into / f"{camera}.part"
            beside.write_bytes(damaged(path, step.fault if is_faulty else ""))
            shown.append((beside, self._into / camera / view / f"{self._count:04d}-{path.name}"))
        # The looks of a part belong together by the time: all appear at once.
        for beside, path in shown:
            path.parent.mkdir(exist_ok=True)
            beside.rename(path)
        return [reference(path) for _, path in shown]


def known_parts(named: str, option: str, cameras: Sequence[Camera]) -> list[Known]:
    """Return the parts whose pictures are in the folder, or match the path, that an option names.

    Raise LineError if there is none, or if one camera's picture of a part is missing.
    """
    if len(cameras) == 1:
        only = cameras[0].name
        return [{only: found} for found in _pictures(named, option, cameras[0]).values()]
    names = ", ".join(camera.name for camera in cameras)
    for camera in cameras:
        if not os.path.isdir(os.path.join(named, camera.name)):
            raise LineError(
                f"{option} {named}: has no folder {camera.name}: make one for each camera ({names}), with the "
                "pictures of each part by the same name in all of them, or test one camera by --camera"
            )
    found = {camera.name: _pictures(os.path.join(named, camera.name), option, camera) for camera in cameras}
    parts: dict[str, None] = dict.fromkeys(part for pictures in found.values() for part in pictures)
    for part in parts:
        for name, pictures in found.items():
            if part not in pictures:
                raise LineError(
                    f"{option} {named}: {name}/{part} is missing: each camera ({names}) needs a picture of "
                    "each part, by the same name"
                )
    return [{name: pictures[part] for name, pictures in found.items()} for part in parts]


def _pictures(named: str, option: str, camera: Camera) -> dict[str, tuple[Path, str]]:
    """Return a camera's pictures and their views, by their names below the folder, in natural order."""
    pattern, source = named, camera.source
    if os.path.isdir(named):
        own = source.files if isinstance(source, Folder) else ""
        rest = os.path.relpath(own, folder_of(own)) if own else "*"
        pattern = os.path.join(named, rest)
    pattern = os.path.abspath(pattern)
    views, folder = Views(pattern, source.camera), folder_of(pattern)
    found = {os.path.relpath(path, folder): (path, views.of(path)) for path in files_of(pattern)}
    if not found:
        raise LineError(f"{option} {named}: no picture has a name like {pattern}")
    return found


def damaged(path: Path, fault: str) -> bytes:
    """Return the bytes of a picture's file, damaged as the name of the fault says. Empty: not damaged."""
    data = path.read_bytes()
    if fault == "no picture":
        return b""
    if fault == "damaged file":
        return data[: len(data) // 2]
    if fault == "covered lens":
        try:
            black = np.zeros_like(read(path))
        except PictureError as error:
            raise LineError(f"the test needs a whole picture: {error}") from error
        return cv2.imencode(".png", black)[1].tobytes()
    return data
