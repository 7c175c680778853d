"""Puts capture together."""

from __future__ import annotations

from pathlib import Path

from ...memory.ledger import Ledger
from ...memory.ring import Ring
from ...sources import open_source
from ...stages.capture import Capture, run_capture, shown
from ...stages.heartbeat import Life
from ...stages.sockets import Wires
from ..plan import Plan


def run(plan: Plan, folder: Path, life: Life, wires: Wires, ledger: Ledger, ring: Ring) -> None:
    source = plan.recipe.source
    capture = Capture(
        ring,
        ledger,
        camera=source.camera,
        shape=source.shape,
        deadline_ns=round(plan.recipe.timing.deadline_ms * 1e6),
    )
    opened = open_source(source, shown(ledger))
    run_capture(life, opened, capture, ledger, wires.to("preprocess"), wires.to("publish"))
