"""Puts pictures from files through a line's recipe, on a line of its own, for a challenge test."""

from __future__ import annotations

import itertools
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import cv2
import msgspec
import numpy as np
from prometheus_client import CollectorRegistry

from ..errors import LineError, PictureError
from ..judges.judge import digest_of, read_judges
from ..line.plan import Plan, processes
from ..line.supervisor import Line
from ..monitoring.metrics import Metrics
from ..pictures import read
from ..recipe import Camera, Folder, Publish, Recipe, Source
from ..sources.listing import Views, files_of, folder_of
from .belt import Ear
from .compare import Hear, Said
from .orders import Step

#: The line of the test runs beside another. What it needs longer for is not held against it.
LEAST_DEADLINE_MS = 10_000.0
LEAST_NICE = 10


class Pictures:
    """The pictures of good and of bad parts, which are presented in turn, and again from the first.

    `good` and `bad` are folders, or paths with *, ** and ?, in which {view} may stand for the part that is the
    view. In a folder, the views are where the recipe has them in its own names. Raise LineError if a folder has
    no picture.
    """

    def __init__(self, good: str, bad: str, source: Source, into: Path) -> None:
        self._source, self._into, self._count = source, into, 0
        self._turns = {"good": self._turn(good, "--good"), "bad": self._turn(bad, "--bad")}

    def _turn(self, named: str, option: str) -> Iterator[tuple[Path, str]]:
        pattern = named
        if os.path.isdir(named):
            own = self._source.files if isinstance(self._source, Folder) else ""
            rest = os.path.relpath(own, folder_of(own)) if own else "*"
            pattern = os.path.join(named, rest)
        pattern = os.path.abspath(pattern)
        views = Views(pattern, self._source.camera)
        found = [(path, views.of(path)) for path in files_of(pattern)]
        if not found:
            raise LineError(f"{option} {named}: no picture has a name like {pattern}")
        return itertools.cycle(found)

    def present(self, step: Step, before: Step | None) -> None:
        """Give the line the next picture of the step's kind, or a copy that is damaged as the step says."""
        path, view = next(self._turns[step.part])
        folder = self._into / view
        folder.mkdir(exist_ok=True)
        self._count += 1
        beside = self._into / "next.part"
        beside.write_bytes(damaged(path, step.fault))
        beside.rename(folder / f"{self._count:04d}-{path.name}")


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


def recipe_of(recipe: Recipe, camera: Camera, folder: Path) -> Recipe:
    """Return the recipe of the test's line: it judges as `recipe` does for a camera, and watches `folder`."""
    source = camera.source
    watched = Folder(
        camera=source.camera,
        width=source.width,
        height=source.height,
        color=source.color,
        files=f"{folder}/parts/{{view}}/*",
        fps=1000.0,
        watch=True,
    )
    timing = msgspec.structs.replace(
        recipe.timing, deadline_ms=max(recipe.timing.deadline_ms, LEAST_DEADLINE_MS)
    )
    judges = [judge for judge in recipe.judge if judge.camera in ("", camera.name)]
    return Recipe(
        line=f"challenge-{os.getpid()}",
        bundle=recipe.bundle,
        masters=recipe.masters,
        drawings=recipe.drawings,
        ignore=recipe.ignore,
        tiles=recipe.tiles,
        judge=tuple(msgspec.structs.replace(judge, camera="") for judge in judges),
        fusion=recipe.fusion,
        masters_kept=recipe.masters_kept,
        source=watched,
        timing=timing,
        preprocess=recipe.preprocess,
        engine=msgspec.structs.replace(recipe.engine, spare=False),
        rule=recipe.rule,
        publish=Publish(endpoints=(f"ipc://{folder}/verdicts.ipc",), heartbeat_ms=200),
    )


def camera_of(recipe: Recipe, name: str) -> Camera:
    """Return the camera with this name, or the only one if the name is empty. Else raise LineError."""
    cameras = {camera.name: camera for camera in recipe.cameras}
    if not name and len(cameras) == 1:
        return recipe.cameras[0]
    if name not in cameras:
        raise LineError(f"--camera: expected one of {', '.join(cameras)}, found {name!r}")
    return cameras[name]


@contextmanager
def folder_line(plan: Plan, good: str, bad: str, camera: str = "") -> Iterator[tuple[Pictures, Hear]]:
    """Run a line that judges like the line of `plan`. Yield what presents pictures to it, and what hears it.

    The pictures are of the part as `camera` sees it. Raise LineError if a bundle was changed since that line
    started, because it would test something else.
    """
    with tempfile.TemporaryDirectory(prefix="linejudge-challenge-") as temporary, ExitStack() as opened:
        folder = Path(temporary)
        (folder / "parts").mkdir()
        seen_by = camera_of(plan.recipe, camera)
        pictures = Pictures(good, bad, seen_by.source, folder / "parts")
        if digest_of(read_judges(plan.recipe)) != plan.bundle_digest:
            raise LineError("a bundle was changed since the line was started: restart the line first")
        recipe = recipe_of(plan.recipe, seen_by, folder)
        judges = read_judges(recipe)
        # The running line's parts come first.
        os.nice(max(0, LEAST_NICE - os.nice(0)))
        metrics = Metrics(CollectorRegistry(), recipe.line, recipe.timing.slots, processes(recipe))
        line = opened.enter_context(
            Line(recipe, plan.recipe_digest, judges, state=folder, metrics=metrics, hear=lambda message: None)
        )
        ear = opened.enter_context(Ear(line.folder))

        def hear(timeout_s: float) -> Said | None:
            end_s = time.monotonic() + timeout_s
            while (said := ear.hear(0)) is None and time.monotonic() < end_s:
                line.tick()
            return said

        yield pictures, hear
