"""Runs the process of one stage: opens its shared memory and sockets, and loads only what the stage needs."""

from __future__ import annotations

import logging
from importlib import import_module
from pathlib import Path

from ...errors import EdgeError, EngineLost
from ...memory.ledger import Ledger
from ...memory.ring import Ring
from ...stages.liveness import Liveness
from ...stages.sockets import Sockets
from ..child import TRY_AGAIN
from ..cpu import leave_to_engine, take_realtime_priority
from ..plan import read_plan

#: Real-time priorities; a higher one runs first.
PRIORITY = {"publish": 20, "capture": 10, "preprocess": 5, "infer": 5}


def run_stage(folder: Path, stage: str, supervisor: int) -> None:
    """Run one stage of the run in `folder`, until the stop signal comes or the supervisor ends.

    `supervisor` is the process id of the supervisor. Capture also ends when its source of pictures ends.
    """
    plan = read_plan(folder)
    # Infer calls both functions itself, after its engine has started on the reserved cores.
    if stage != "infer":
        take_realtime_priority(PRIORITY[stage])
        leave_to_engine(plan.recipe.engine.threads)
    ledger, ring = Ledger.open(folder / "ledger"), Ring.open(folder / "ring")
    with Liveness(ledger, stage, supervisor) as liveness, Sockets(folder, ledger.run) as sockets:
        import_module(f".{stage}", __name__).run(plan, folder, liveness, sockets, ledger, ring)


def run_stage_of(folder: Path, stage: str, supervisor: int) -> int:
    """Run a stage and return its exit status. Write its error to `<stage>.error` for the supervisor to read."""
    logging.basicConfig(level=logging.INFO, format=f"%(levelname)s {stage}: %(message)s")
    try:
        run_stage(folder, stage, supervisor)
    except EdgeError as error:
        # The names of files may hold bytes that are not UTF-8.
        (folder / f"{stage}.error").write_bytes(str(error).encode("utf-8", "backslashreplace"))
        return TRY_AGAIN if isinstance(error, EngineLost) else 1
    return 0
