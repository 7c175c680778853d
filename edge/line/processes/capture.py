"""Runs a capture process, which opens a camera's source of pictures and records a part for each trigger."""

from __future__ import annotations

from ...sources import open_source
from ...stages.capture import Capture, run_capture, shown
from ..plan import process_of
from . import Run


def run(run: Run) -> None:
    """Run capture until the stop signal comes or the source ends."""
    recipe, camera = run.plan.recipe, run.camera
    ledger, ring = run.ledgers[camera.name], run.rings[camera.name]
    capture = Capture(
        ring,
        ledger,
        camera=camera.name,
        shape=camera.source.shape,
        deadline_ns=round(recipe.timing.deadline_ms * 1e6),
    )
    opened = open_source(camera.source, shown(ledger))
    onward = run.sockets.to(process_of("preprocess", camera.name, recipe))
    run_capture(run.liveness, opened, capture, ledger, onward, run.sockets.to("publish"))
