"""Runs a capture process, which opens a camera's source of pictures and records a part for each trigger."""

from __future__ import annotations

from ...belt.deadline import deadline_at_capture
from ...belt.layout import layout_of
from ...sources import open_source
from ...stages.capture import Capture, run_capture, shown
from ..plan import process_of
from ..scene import scene_of
from . import Run


def run(run: Run) -> None:
    """Run capture until the stop signal comes or the source ends."""
    recipe, camera = run.plan.recipe, run.camera
    ledger, ring = run.ledgers[camera.name], run.rings[camera.name]
    layout, course = layout_of(recipe), run.course

    def place(captured_ns: int) -> tuple[int, int]:
        position = course.position(captured_ns)
        return position, deadline_at_capture(layout, course, camera.name, captured_ns, position)

    capture = Capture(
        ring,
        ledger,
        camera=camera.name,
        shape=camera.source.shape,
        place=place,
        places_unseen=not layout.several,
    )
    opened = open_source(camera.source, shown(ledger), scene_of(recipe, camera, run.folder))
    onward = run.sockets.to(process_of("preprocess", camera.name, recipe))
    run_capture(run.liveness, opened, capture, ledger, onward, run.sockets.to("publish"))
