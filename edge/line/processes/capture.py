"""Runs the capture process, which opens the recipe's source of pictures and records a part for each trigger."""

from __future__ import annotations

from pathlib import Path

from ...memory.ledger import Ledger
from ...memory.ring import Ring
from ...sources import open_source
from ...stages.capture import Capture, run_capture, shown
from ...stages.liveness import Liveness
from ...stages.sockets import Sockets
from ..plan import Plan


def run(plan: Plan, folder: Path, liveness: Liveness, sockets: Sockets, ledger: Ledger, ring: Ring) -> None:
    """Run capture until the stop signal comes or the source ends."""
    source = plan.recipe.source
    capture = Capture(
        ring,
        ledger,
        camera=source.camera,
        shape=source.shape,
        deadline_ns=round(plan.recipe.timing.deadline_ms * 1e6),
    )
    opened = open_source(source, shown(ledger))
    run_capture(liveness, opened, capture, ledger, sockets.to("preprocess"), sockets.to("publish"))
