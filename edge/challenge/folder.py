"""Puts pictures from files through a line's recipe, on a line of its own, for a challenge test."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
from prometheus_client import CollectorRegistry

from ..errors import LineError
from ..judges.judge import digest_of, read_judges
from ..line.plan import Plan, processes
from ..line.supervisor import Line
from ..monitoring.metrics import Metrics
from ..recipe import Camera, Folder, Publish, Recipe, Source
from .belt import Ear
from .compare import Hear, Said
from .pictures import Pictures

#: The line of the test runs beside another. What it needs longer for is not held against it.
LEAST_DEADLINE_MS = 10_000.0
LEAST_NICE = 10
#: Looks of one part lie within this time of each other. Each camera looks for new files every quarter of a
#: second, and less often on a busy machine. A part is decided after twice this time.
WINDOW_MS = 1000.0


def recipe_of(recipe: Recipe, cameras: Sequence[Camera], folder: Path) -> Recipe:
    """Return the recipe of the test's line: it judges as `recipe` does for these cameras, and watches `folder`.

    One camera is the line's only one. Several stand at one place of the belt, whatever the recipe says: the
    pictures of one part appear at one time, and those of the next part come after its verdict.
    """
    names = [camera.name for camera in cameras]
    watched = [_watched(camera.source, f"{folder}/parts/{camera.name}/{{view}}/*") for camera in cameras]
    judges = tuple(judge for judge in recipe.judge if judge.camera in ("", *names))
    several: tuple[Camera, ...] = ()
    if len(cameras) == 1:
        judges = tuple(msgspec.structs.replace(judge, camera="") for judge in judges)
    else:
        several = tuple(
            Camera(name=name, window=WINDOW_MS, source=source)
            for name, source in zip(names, watched, strict=True)
        )
    timing = msgspec.structs.replace(
        recipe.timing, deadline_ms=max(recipe.timing.deadline_ms, LEAST_DEADLINE_MS)
    )
    return Recipe(
        line=f"challenge-{os.getpid()}",
        bundle=recipe.bundle,
        masters=recipe.masters,
        drawings=recipe.drawings,
        ignore=recipe.ignore,
        tiles=recipe.tiles,
        judge=judges,
        fusion=recipe.fusion,
        masters_kept=recipe.masters_kept,
        camera=several,
        source=watched[0],
        timing=timing,
        preprocess=recipe.preprocess,
        engine=msgspec.structs.replace(recipe.engine, spare=False),
        rule=recipe.rule,
        publish=Publish(endpoints=(f"ipc://{folder}/verdicts.ipc",), heartbeat_ms=200),
    )


def _watched(source: Source, files: str) -> Folder:
    """Return the source of a camera's frames from files that appear."""
    return Folder(
        camera=source.camera,
        width=source.width,
        height=source.height,
        color=source.color,
        files=files,
        fps=1000.0,
        watch=True,
    )


def cameras_of(recipe: Recipe, name: str) -> tuple[Camera, ...]:
    """Return the camera with this name, or all if the name is empty. Raise LineError if there is none."""
    if not name:
        return recipe.cameras
    found = tuple(camera for camera in recipe.cameras if camera.name == name)
    if not found:
        known = ", ".join(camera.name for camera in recipe.cameras)
        raise LineError(f"--camera: expected one of {known}, found {name!r}")
    return found


@contextmanager
def folder_line(plan: Plan, good: str, bad: str, cameras: Sequence[Camera]) -> Iterator[tuple[Pictures, Hear]]:
    """Run a line that judges like the line of `plan`. Yield what presents pictures to it, and what hears it.

    The pictures are of the parts as `cameras` see them. Raise LineError if a picture is missing, or if a bundle
    was changed since that line started, because it would test something else.
    """
    with tempfile.TemporaryDirectory(prefix="linejudge-challenge-") as temporary, ExitStack() as opened:
        folder = Path(temporary)
        (folder / "parts").mkdir()
        pictures = Pictures(good, bad, cameras, folder / "parts")
        if digest_of(read_judges(plan.recipe)) != plan.bundle_digest:
            raise LineError("a bundle was changed since the line was started: restart the line first")
        recipe = recipe_of(plan.recipe, cameras, folder)
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
