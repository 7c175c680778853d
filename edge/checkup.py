"""A look at a line before it runs: its recipe, bundle, engine, masters and source, without starting it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape

from .engines import take_engine
from .errors import SourceEnded, SourceError
from .golden import check_golden
from .judges import Judge, read_line
from .recipe import Recipe
from .sources import open_source

FIRST_FRAME_S = 10.0


def check_line(path: Path) -> None:
    """Print what is found, step by step; the first thing that is wrong is raised as an EdgeError."""
    console = Console(soft_wrap=True, highlight=False)

    def passed(what: str, found: str) -> None:
        console.print(f"[green]ok[/green]  {what:<9} {escape(found)}")

    def noted(what: str, found: str) -> None:
        console.print(f"[dim]--[/dim]  {what:<9} {escape(found)}")

    recipe, digest, judges = read_line(path)
    passed("recipe", f"line {recipe.line!r}, SHA-256 {digest[:12]}")
    for judge in judges:
        _check_judge(judge, recipe, passed, noted)
    view = _first_view(recipe)
    passed(
        "source", f"{recipe.source.camera} delivers {recipe.source.width}x{recipe.source.height}, view {view!r}"
    )
    for judge in judges:
        masters = judge.masters(recipe)
        if masters is not None:
            masters.get(view)
            passed("master", f"of view {view!r} fits")


def _check_judge(
    judge: Judge, recipe: Recipe, passed: Callable[[str, str], None], noted: Callable[[str, str], None]
) -> None:
    """Its bundle, its rule, its engine and, for a matcher, its drawings."""
    manifest = judge.bundle.manifest
    passed(
        "bundle",
        f"{manifest.name}, {manifest.method}, {', '.join(manifest.kinds)}, SHA-256 {judge.bundle.digest[:12]}",
    )
    thresholds = ", ".join(f"{kind} {threshold:g}" for kind, threshold in judge.rule.thresholds.items())
    promise = f"; {manifest.calibration.note}" if manifest.calibration else ""
    passed("rule", f"reject from {thresholds}{promise}")
    taken = take_engine(recipe.engine, judge.bundle)
    for kind, why in taken.left_out.items():
        noted("engine", f"{kind} left out: {why}")
    with taken.open(recipe.engine, judge.bundle) as engine:
        check_golden(engine, judge.bundle)
        passed("engine", f"{engine.name} {engine.precision} reproduces {len(manifest.golden)} golden frames")
    if manifest.method == "matcher":
        passed("drawings", f"{len(judge.drawings(recipe))} of the product")


def _first_view(recipe: Recipe) -> str:
    """Open the source and read one frame; SourceError where none comes."""
    frame = np.zeros(recipe.source.shape, np.uint8)
    with open_source(recipe.source) as source:
        try:
            trigger = source.wait(FIRST_FRAME_S)
        except SourceEnded as error:
            raise SourceError(f"the source ends before its first frame: {error}") from error
        if trigger is None:
            raise SourceError(f"no frame came within {FIRST_FRAME_S:g} s: is the camera triggered?")
        source.read(frame)
    return trigger.view
