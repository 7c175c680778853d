"""Runs one process of a line: opens its shared memory and sockets, and loads only what its stage needs."""

from __future__ import annotations

import logging
import pkgutil
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path

from ...belt.course import ByEncoder, ByTime, Course
from ...belt.deadline import DeadlineAt, deadline_of_looks
from ...belt.layout import layout_of
from ...belt.track import Track
from ...errors import EdgeError, EngineLost
from ...memory.ledger import Ledger
from ...memory.ring import Ring
from ...memory.stages import Stages
from ...recipe import Camera
from ...stages.liveness import Liveness
from ...stages.sockets import Sockets
from ..child import TRY_AGAIN
from ..cpu import leave_to_engine, take_realtime_priority
from ..plan import Plan, read_plan, stage_of
from ..run_folder import ledger_path, ring_path, stages_path, track_path

#: Real-time priorities; a higher one runs first. Processes that delay no verdict have none.
PRIORITY = {"publish": 20, "encoder": 15, "capture": 10, "preprocess": 5, "infer": 5}


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a process has of the run to which it belongs. `name` is its own name, such as `capture.top`."""

    plan: Plan
    folder: Path
    name: str
    liveness: Liveness
    sockets: Sockets
    stages: Stages

    @property
    def camera(self) -> Camera:
        """The camera that this process serves; the first one if it serves all."""
        cameras = self.plan.recipe.cameras
        return next((one for one in cameras if self.name.endswith(f".{one.name}")), cameras[0])

    @cached_property
    def ledgers(self) -> dict[str, Ledger]:
        """The ledger of each camera, by the camera's name, in the order of the recipe."""
        cameras = self.plan.recipe.cameras
        return {one.name: Ledger.open(ledger_path(self.folder, one.name)) for one in cameras}

    @cached_property
    def rings(self) -> dict[str, Ring]:
        """The ring of each camera, by the camera's name, in the order of the recipe."""
        cameras = self.plan.recipe.cameras
        return {one.name: Ring.open(ring_path(self.folder, one.name)) for one in cameras}

    @cached_property
    def course(self) -> Course:
        """How the belt moves: by the time, or as the encoder reports it."""
        by_encoder = self.plan.recipe.belt.by == "encoder"
        return ByEncoder(Track.open(track_path(self.folder))) if by_encoder else ByTime()

    @property
    def deadline(self) -> DeadlineAt:
        """Until when the parts of this run have to be decided, as the belt moves."""
        return deadline_of_looks(layout_of(self.plan.recipe), self.course)


def load() -> None:
    """Import all that the processes of a line need, but the libraries of engines. Open and start nothing."""
    for module in pkgutil.iter_modules(__path__):
        import_module(f".{module.name}", __name__)
    # FFmpeg, which open_source imports where a recipe asks for it.
    import_module("edge.sources.video")


def run_process(folder: Path, name: str, supervisor: int) -> None:
    """Run one process of the run in `folder`, until the stop signal comes or the supervisor ends.

    `supervisor` is the process id of the supervisor. Capture also ends when its source of pictures ends.
    """
    plan, stage = read_plan(folder), stage_of(name)
    # Infer calls both functions itself, after its engine has started on the reserved cores.
    if stage != "infer":
        if stage in PRIORITY:
            take_realtime_priority(PRIORITY[stage])
        leave_to_engine(plan.recipe.engine.threads)
    stages = Stages.open(stages_path(folder))
    with Liveness(stages, name, supervisor) as liveness, Sockets(folder, stages.run) as sockets:
        run = Run(plan=plan, folder=folder, name=name, liveness=liveness, sockets=sockets, stages=stages)
        import_module(f".{stage}", __name__).run(run)


def run_named(folder: Path, name: str, supervisor: int) -> int:
    """Run a process and return its exit status. Write its error to `<name>.error`, for the supervisor."""
    logging.basicConfig(level=logging.INFO, format=f"%(levelname)s {name}: %(message)s")
    try:
        run_process(folder, name, supervisor)
    except EdgeError as error:
        # The names of files may hold bytes that are not UTF-8.
        (folder / f"{name}.error").write_bytes(str(error).encode("utf-8", "backslashreplace"))
        return TRY_AGAIN if isinstance(error, EngineLost) else 1
    return 0
