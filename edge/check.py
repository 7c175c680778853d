"""Checks a line before it runs: its recipe, bundles, engines, masters and source."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import msgspec
import numpy as np
from rich.console import Console
from rich.markup import escape

from .belt.encoders import open_encoder
from .capacity import Capacity, Timing, capacity_of, time_engine
from .engines import processor
from .errors import SourceEnded, SourceError
from .judges.arming import armed_engine
from .judges.judge import Judge, by_camera, read_line
from .line.preflight import preflight
from .monitoring.gpu import find_gpu
from .recipe import Encoder, Folder, Recipe, Runtime, SimulatedBelt, Synthetic
from .sources import open_source

FIRST_FRAME_S = 10.0
#: How long to wait for a picture in a watched folder, which may still be empty.
FIRST_PICTURE_S = 2.0


def check_line(path: Path, state: Path) -> None:
    """Check an inspection line and print each result. Raise an EdgeError if a check fails.

    `path` is the recipe. The line stores its epoch numbers in `state`. The first failed check ends the checks.
    """
    console = Console(soft_wrap=True, highlight=False)

    def passed(what: str, found: str) -> None:
        console.print(f"[green]ok[/green]  {what:<9} {escape(found)}")

    def noted(what: str, found: str) -> None:
        console.print(f"[dim]--[/dim]  {what:<9} {escape(found)}")

    def warned(what: str, found: str) -> None:
        console.print(f"[yellow]!![/yellow]  {what:<9} {escape(found)}")

    recipe, digest, judges = read_line(path)
    passed("recipe", f"line {recipe.line!r}, SHA-256 {digest[:12]}")
    if preflight(recipe, judges, state):
        passed("machine", f"ports and folders are free; epochs are kept in {state}")
    else:
        noted("machine", "the line runs now: its ports and folders are its own")
    checked = []
    known: dict[tuple[str, int], tuple[Timing, str]] = {}
    for judge in judges:
        # Cameras may share a bundle, and its engine is the same for all.
        key = judge.bundle.digest, judge.manifest.grid.count
        known[key] = known.get(key) or _check_judge(judge, passed, noted, warned)
        checked.append(known[key])
    gpu = find_gpu() if any(engine in get_args(Runtime) for _, engine in checked) else None
    if gpu:
        passed("gpu", f"{gpu.name} is the one that the metrics show")
        for setting in gpu.slow_settings():
            warned("gpu", setting)
    if recipe.belt.encoder:
        passed("encoder", f"counts {_first_count(recipe.belt.encoder)}")
    for camera, of_camera in by_camera(judges).items():
        view = _first_view(of_camera[0].recipe)
        if view is None:
            noted("source", f"{camera}: no picture is in the folder that is watched")
        else:
            source = of_camera[0].recipe.source
            passed("source", f"{camera} delivers {source.width}x{source.height}, view {view!r}")
        for judge in of_camera:
            _check_masters(judge, view, passed)
    capacity = capacity_of([timing for timing, _ in checked], recipe.timing.guard_ms)
    passed("speed", f"{processor.name()}, {processor.usable_cores()} cores: it holds {capacity}")
    for shortage in shortages(recipe, capacity):
        warned("speed", shortage)


def shortages(recipe: Recipe, capacity: Capacity) -> list[str]:
    """Return one sentence for each demand of the recipe that this machine cannot meet: rate or deadline."""
    found = []
    sources = [camera.source for camera in recipe.cameras]
    fps = [source.fps for source in sources if isinstance(source, Synthetic | Folder)]
    if fps and max(fps) > capacity.parts_per_s:
        found.append(
            f"source.fps: {max(fps):g} parts a second come, and some will be `overrun` or `late`: let fewer "
            "come, or judge them on a faster machine, with smaller pictures or in a faster precision"
        )
    key, deadline_ms = _time_for_last(recipe)
    if deadline_ms < capacity.deadline_ms:
        found.append(
            f"{key}: {deadline_ms:g} ms are shorter, and parts will be `late`: put "
            "the ejector further away, or judge on a faster machine, with smaller pictures or in another "
            "precision"
        )
    return found


def _time_for_last(recipe: Recipe) -> tuple[str, float]:
    """Return how many ms there are for a look of the last camera, and the key that says so.

    On a belt with an encoder and an ejector this is not known: the belt's speed is not.
    """
    if recipe.ejector and recipe.belt.by == "encoder":
        return "ejector.at", math.inf
    last_ms = max(camera.at for camera in recipe.cameras) if recipe.belt.by == "time" else 0.0
    if recipe.ejector:
        return "ejector.at", recipe.ejector.at - recipe.ejector.lead_ms - last_ms
    return "timing.deadline_ms", recipe.timing.deadline_ms - last_ms


def _first_count(section: Encoder) -> int:
    """Return the first count of the belt's encoder. Raise EncoderError if it reports none."""
    with open_encoder(section) as encoder:
        while (reading := encoder.read()) is None:
            pass
        return reading[1]


Tell = Callable[[str, str], None]


def _check_judge(judge: Judge, passed: Tell, noted: Tell, warned: Tell) -> tuple[Timing, str]:
    """Check a judge, and print results by calling the other arguments.

    Return how long its engine takes, and the engine's name.
    """
    manifest = judge.bundle.manifest
    passed(
        "bundle",
        f"{manifest.name}, {manifest.method}, {', '.join(manifest.kinds)}, SHA-256 {judge.bundle.digest[:12]}",
    )
    thresholds = ", ".join(f"{kind} {threshold:g}" for kind, threshold in judge.rule.thresholds.items())
    promise = f"; {manifest.calibration.note}" if manifest.calibration else ""
    passed("rule", f"reject from {thresholds}{promise}")
    grid, ignored = judge.manifest.grid, judge.ignored
    if grid.count > 1:
        passed(
            "tiles",
            f"{grid.columns}x{grid.rows} of {grid.width}x{grid.height}, {grid.size[1]}x{grid.size[0]} in all",
        )
    if ignored is not None:
        passed("ignore", f"{100 * ignored.mean():.1f} % of the picture is not judged")
    if shortcoming := processor.shortcoming():
        noted("processor", shortcoming)
    with armed_engine(judge.recipe.engine, judge.bundle, judge.manifest.grid.count) as armed:
        engine = armed.engine
        for name, why in armed.left_out.items():
            tell = warned if name in armed.fell_back else noted
            tell("engine", f"{name} left out: {why}")
        timing = time_engine(engine, judge.bundle, judge.manifest.grid.count)
        said = f"reproduces {len(manifest.golden)} golden frames, {timing.one_ms:.3g} ms a part"
        passed("engine", f"{engine.name} {engine.precision} {said}")
    if manifest.matches_drawings:
        passed("drawings", f"{len(judge.drawings())} of the product")
    return timing, engine.name


def _check_masters(judge: Judge, view: str | None, passed: Tell) -> None:
    """Check that the masters of all known views, and of `view` if it is given, fit the frames."""
    masters = judge.masters()
    if masters is None:
        return
    views = {view: None for view in (*judge.views(), view) if view is not None}
    for one in views:
        masters.get(one)
    passed("masters", f"of {len(views)} views fit: {', '.join(map(repr, views))}")


def _first_view(recipe: Recipe) -> str | None:
    """Read one frame of the source and return its view. None if a watched folder is still empty.

    Raise SourceError if no frame comes from any other source.
    """
    watched = isinstance(recipe.source, Folder) and recipe.source.watch
    frame, section = np.zeros(recipe.source.shape, np.uint8), recipe.source
    if isinstance(section, Synthetic | SimulatedBelt) and section.truth:
        if not Path(section.truth).parent.is_dir():
            raise SourceError(f"{section.truth}: cannot write the truth of [source]: make its folder")
        # Without this, the check would overwrite the truth of an earlier run.
        section = msgspec.structs.replace(section, truth="")
    with open_source(section) as source:
        try:
            trigger = source.wait(FIRST_PICTURE_S if watched else FIRST_FRAME_S)
        except SourceEnded as error:
            raise SourceError(f"the source ends before its first frame: {error}") from error
        if trigger is None and watched:
            return None
        if trigger is None:
            raise SourceError(f"no frame came within {FIRST_FRAME_S:g} s: is the camera triggered?")
        source.read(frame)
    return trigger.view
