"""Runs the infer process, which opens and checks each judge's engine and runs it on the parts that come."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from pathlib import Path
from typing import TypeGuard

import msgspec

from ...engines.base import Engine
from ...engines.trials import Trials
from ...judges.arming import armed_engine
from ...judges.gallery import Gallery
from ...judges.judge import Judge
from ...memory.ledger import Ledger
from ...memory.ring import Ring
from ...messages import Message, Running, Tensor
from ...stages.inbox import Inbox, are_finite
from ...stages.infer import Infer, JudgeEngine
from ...stages.liveness import Liveness
from ...stages.loop import relay
from ...stages.references import References
from ...stages.sockets import Sockets
from ..cpu import engine_cores, leave_to_engine, take_realtime_priority
from ..plan import RUNNING, TRIALS, Plan
from . import PRIORITY
from .judges import looking_judges

log = logging.getLogger(__name__)


def run(plan: Plan, folder: Path, liveness: Liveness, sockets: Sockets, ledger: Ledger, ring: Ring) -> None:
    """Open and check the judges' engines, and run them on the parts that come, until the stop signal comes."""
    threads = plan.recipe.engine.threads
    with Trials(folder / TRIALS) as trials, ExitStack() as opened:
        with engine_cores(threads):
            judges = looking_judges(plan)
            armed = [
                opened.enter_context(
                    armed_engine(plan.recipe.engine, judge.bundle, judge.manifest.grid.count, trials)
                )
                for judge in judges
            ]
            engines = [_with_engine(judge, each.engine) for judge, each in zip(judges, armed, strict=True)]
        take_realtime_priority(PRIORITY["infer"])
        leave_to_engine(threads)
        running = Running(
            engine=", ".join(dict.fromkeys(each.engine.name for each in armed)),
            precision=", ".join(dict.fromkeys(each.engine.precision for each in armed)),
            warped_by_engine=tuple(each.engine.warps_frames for each in armed),
            left_out={name: why for each in armed for name, why in each.left_out.items()},
            fell_back=tuple(dict.fromkeys(name for each in armed for name in each.fell_back)),
        )
        (folder / RUNNING).write_bytes(msgspec.json.encode(running))

        def fits(message: Message) -> TypeGuard[Tensor]:
            if not isinstance(message, Tensor):
                return False
            return len(message.inputs) == len(judges) and are_finite(message.inputs)

        inbox = Inbox(sockets.inbox("infer"), ledger, "infer", fits)
        step = Infer(ring, engines, plan.recipe.source.shape)
        step.warm()
        trials.end()
        liveness.ready()
        relay("infer", liveness, inbox, sockets.to("publish"), sockets.to("publish"), step, plan.guard_ns)


def _with_engine(judge: Judge, engine: Engine) -> JudgeEngine:
    """Return the judge's engine, and the features of masters or the drawings that it compares parts with."""
    manifest = judge.bundle.manifest
    calibration, running = manifest.calibration, f"{engine.name} {engine.precision}"
    if calibration and calibration.engine != running:
        log.warning(
            "bundle %s was calibrated on %s: on %s it does not promise its rate of false rejects",
            manifest.name,
            calibration.engine,
            running,
        )
    masters, references = judge.masters(), None
    grid = judge.manifest.grid if judge.manifest.grid.count > 1 else None
    if masters is not None:
        limit_bytes = judge.recipe.engine.reference_mb * 2**20
        references = References(engine, lambda view: masters.get(view).input, limit_bytes, grid)
        references.warm(judge.views())
    gallery = Gallery(engine, judge.drawings()) if manifest.matches_drawings else None
    return JudgeEngine(
        engine=engine,
        warper=judge.warper(),
        references=references,
        gallery=gallery,
        grid=grid,
        stride=manifest.stride,
    )
