"""Runs the demonstration: a real line judges rendered boards, and each verdict is compared with the truth."""

from __future__ import annotations

import json
import logging
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.live import Live
from rich.table import Table

from ..capacity import capacity_of, time_engine
from ..judges.arming import armed_engine
from ..judges.judge import Judge, read_judges
from ..line.supervisor import Line
from ..messages import Broadcast, Verdict
from ..monitoring.metrics import Metrics
from ..recipe import Recipe, Synthetic
from ..recipe_file import read_recipe
from ..watch import LiveTable
from .picture import draw_boards

FOLDER = Path(__file__).parent

_log = logging.getLogger(__name__)


def run_demo(
    parts: int, seed: int, fps: float, *, picture: Path | None, stopping: Sequence[int], quiet: bool
) -> dict[str, Any]:
    """Judge `parts` rendered boards on a real line, and return a report.

    If this machine cannot keep the rate or the deadline, a lower rate or a later deadline is used, and a
    warning says so. The report has `engine`, `parts`, `pass`, `reject`, `unknown`, `escapes` (defective boards
    that passed), `overkill` (good boards that did not pass), `latency_ms` (p50 and p99 from capture to
    publish) and `fps`. Some judged boards are drawn into the file `picture`, if it is given. Nothing else is
    written except a temporary folder, and no port is opened. The demonstration stops early if `stopping` gets
    an entry.
    """
    with tempfile.TemporaryDirectory(prefix="linejudge-demo-") as temporary:
        folder = Path(temporary)
        recipe, digest = _recipe(folder, parts, seed, fps)
        judges = read_judges(recipe)
        engine, recipe = fitted(recipe, judges)
        metrics = Metrics(CollectorRegistry(), recipe.line, recipe.timing.slots)
        verdicts: list[Verdict] = []
        assert isinstance(recipe.source, Synthetic)
        title = f"linejudge demo: {parts} boards at {recipe.source.fps:.3g} a second on {engine}, seed {seed}"
        table = LiveTable(title)
        console = Console()
        show = Live(table.render(), console=console, refresh_per_second=8) if not quiet else nullcontext()

        def hear(message: Broadcast) -> None:
            table.add(message)
            if isinstance(message, Verdict):
                verdicts.append(message)

        with show, Line(recipe, digest, judges, state=folder, metrics=metrics, hear=hear) as line:
            while not stopping and not line.ended:
                line.tick()
                if isinstance(show, Live):
                    show.update(table.render())
        if picture:
            draw_boards(verdicts, recipe.source, picture)
        truth = [json.loads(row)["good"] for row in (folder / "truth.jsonl").read_text().splitlines()]
    report = {"engine": engine} | _report(verdicts, truth)
    if not quiet:
        console.print(_summary(report))
    return report


def _recipe(folder: Path, parts: int, seed: int, fps: float) -> tuple[Recipe, str]:
    """Return the recipe of the demonstration with these parts, seed and rate, and the recipe's digest."""
    recipe, digest = read_recipe(FOLDER / "recipe.toml")
    assert isinstance(recipe.source, Synthetic)
    source = msgspec.structs.replace(
        recipe.source, parts=parts, seed=seed, fps=fps, truth=str(folder / "truth.jsonl")
    )
    publish = msgspec.structs.replace(recipe.publish, endpoints=(f"ipc://{folder}/verdicts.ipc",))
    line = f"demo-{folder.name.rpartition('-')[2]}"
    return msgspec.structs.replace(recipe, line=line, source=source, publish=publish), digest


def fitted(recipe: Recipe, judges: Sequence[Judge]) -> tuple[str, Recipe]:
    """Return the engine's name, and the recipe with a rate and a deadline that this machine can keep."""
    assert isinstance(recipe.source, Synthetic)
    (judge,) = judges
    with armed_engine(recipe.engine, judge.bundle) as armed:
        engine = f"{armed.engine.name} {armed.engine.precision}"
        capacity = capacity_of([time_engine(armed.engine, judge.bundle)], recipe.timing.guard_ms)
    source, timing = recipe.source, recipe.timing
    if source.fps > capacity.parts_per_s:
        source = msgspec.structs.replace(source, fps=capacity.parts_per_s)
        _log.warning(
            "this machine holds about %.3g boards a second on %s: the demonstration slows down to that",
            capacity.parts_per_s,
            engine,
        )
    if timing.deadline_ms < capacity.deadline_ms:
        timing = msgspec.structs.replace(timing, deadline_ms=2 * capacity.deadline_ms)
        _log.warning(
            "a verdict takes about %.0f ms here: the demonstration's deadline is set to %.0f ms",
            capacity.deadline_ms,
            timing.deadline_ms,
        )
    return engine, msgspec.structs.replace(recipe, source=source, timing=timing)


def _report(verdicts: list[Verdict], truth: list[bool]) -> dict[str, Any]:
    counts = Counter(verdict.verdict for verdict in verdicts)
    good = [truth[verdict.sequence - 1] for verdict in verdicts]
    latency_ms = [verdict.latency_us["total"] / 1000 for verdict in verdicts] or [0.0]
    seconds = (verdicts[-1].captured_ns - verdicts[0].captured_ns) / 1e9 if len(verdicts) > 1 else 0.0
    return {
        "parts": len(verdicts),
        **{kind: counts[kind] for kind in ("pass", "reject", "unknown")},
        "escapes": sum(v.verdict == "pass" and not g for v, g in zip(verdicts, good, strict=True)),
        "overkill": sum(v.verdict != "pass" and g for v, g in zip(verdicts, good, strict=True)),
        "latency_ms": {f"p{q}": round(float(np.percentile(latency_ms, q)), 2) for q in (50, 99)},
        "fps": round((len(verdicts) - 1) / seconds, 2) if seconds else 0.0,
    }


def _summary(report: dict[str, Any]) -> Table:
    table = Table(show_header=False, box=None)
    for key, text in (
        ("parts", "boards, each with exactly one verdict"),
        ("pass", "passed"),
        ("reject", "rejected for a defect"),
        ("unknown", "unknown, and so rejected too"),
        ("escapes", "escapes: defective boards that passed"),
        ("overkill", "overkill: good boards that did not pass"),
    ):
        table.add_row(str(report[key]), text)
    latency = report["latency_ms"]
    table.add_row(
        f"{latency['p50']:.1f} ms", f"from capture to verdict, median; 99 of 100 within {latency['p99']:.1f} ms"
    )
    return table
