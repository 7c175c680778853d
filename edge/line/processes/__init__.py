"""The process of one stage: opens what a run has in common, and loads only what the stage needs.

It begins in start.py.
"""

from __future__ import annotations

import logging
from importlib import import_module
from pathlib import Path

from ...errors import EdgeError
from ...memory.ledger import Ledger
from ...memory.ring import Ring
from ...stages.liveness import Liveness
from ...stages.sockets import Sockets
from ..cpu import leave_to_engine, take_realtime_priority
from ..plan import read_plan

PRIORITY = {"publish": 20, "capture": 10, "preprocess": 5, "infer": 5}  # of what has to be prompt


def run_stage(folder: Path, stage: str, supervisor: int) -> None:
    """Run one stage until it is told to stop or, for capture, until the source ends."""
    plan = read_plan(folder)
    if stage != "infer":  # whose engine comes first
        take_realtime_priority(PRIORITY[stage])
        leave_to_engine(plan.recipe.engine.threads)
    ledger, ring = Ledger.open(folder / "ledger"), Ring.open(folder / "ring")
    with Liveness(ledger, stage, supervisor) as liveness, Sockets(folder, ledger.run) as sockets:
        import_module(f".{stage}", __name__).run(plan, folder, liveness, sockets, ledger, ring)


def run_stage_of(folder: Path, stage: str, supervisor: int) -> int:
    """Run a stage; what ended it, if anything, goes to `<stage>.error` for the supervisor to tell."""
    logging.basicConfig(level=logging.INFO, format=f"%(levelname)s {stage}: %(message)s")
    try:
        run_stage(folder, stage, supervisor)
    except EdgeError as error:
        said = str(error).encode("utf-8", "backslashreplace")  # names of files may hold what UTF-8 does not
        (folder / f"{stage}.error").write_bytes(said)
        return 1
    return 0
