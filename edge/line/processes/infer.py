"""Puts infer together: every judge with an engine that is armed for it."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from pathlib import Path
from typing import TypeGuard

import msgspec

from ...engines.base import Engine
from ...image.warp import Resampler
from ...judges.arming import armed_engine
from ...judges.gallery import Gallery
from ...judges.judge import Judge
from ...memory.ledger import Ledger
from ...memory.ring import Ring
from ...messages import Message, Running, Tensor
from ...recipe import Recipe
from ...stages.inbox import Inbox, are_finite
from ...stages.infer import Infer, Layer, References, Seat
from ...stages.liveness import Liveness
from ...stages.loop import relay
from ...stages.sockets import Sockets
from ..cpu import engine_cores, leave_to_engine, take_realtime_priority
from ..plan import RUNNING, Plan
from . import PRIORITY
from .judges import looking_judges

log = logging.getLogger(__name__)


def run(plan: Plan, folder: Path, liveness: Liveness, sockets: Sockets, ledger: Ledger, ring: Ring) -> None:
    threads = plan.recipe.engine.threads
    with ExitStack() as opened:
        with engine_cores(threads):
            judges = looking_judges(plan)
            armed = [opened.enter_context(armed_engine(plan.recipe.engine, judge.bundle)) for judge in judges]
            seats = [_seat(judge, each.engine, plan.recipe) for judge, each in zip(judges, armed, strict=True)]
        take_realtime_priority(PRIORITY["infer"])
        leave_to_engine(threads)
        running = Running(
            engine=", ".join(dict.fromkeys(seat.engine.name for seat in seats)),
            precision=", ".join(dict.fromkeys(seat.engine.precision for seat in seats)),
            laid_by_engine=tuple(seat.engine.lays for seat in seats),
            left_out={kind: why for each in armed for kind, why in each.left_out.items()},
        )
        (folder / RUNNING).write_bytes(msgspec.json.encode(running))

        def fits(message: Message) -> TypeGuard[Tensor]:
            if not isinstance(message, Tensor):
                return False
            return len(message.inputs) == len(judges) and are_finite(message.inputs)

        inbox = Inbox(sockets.inbox("infer"), ledger, "infer", fits)
        liveness.ready()
        step = Infer(ring, seats)
        relay("infer", liveness, inbox, sockets.to("publish"), sockets.to("publish"), step, plan.guard_ns)


def _seat(judge: Judge, engine: Engine, recipe: Recipe) -> Seat:
    """The judge's engine with what it compares parts with."""
    manifest = judge.bundle.manifest
    promise, running = manifest.calibration, f"{engine.name} {engine.precision}"
    if promise and promise.engine != running:
        log.warning(
            "bundle %s was calibrated on %s: on %s it does not promise its rate of false rejects",
            manifest.name,
            promise.engine,
            running,
        )
    masters, references = judge.masters(recipe), None
    if masters is not None:
        limit_bytes = recipe.engine.reference_mb * 2**20
        references = References(engine, lambda view: masters.get(view).input, limit_bytes)
        references.warm(judge.views(recipe))
    gallery = Gallery(engine, judge.drawings(recipe)) if manifest.method == "matcher" else None
    layer = Layer(
        frame=recipe.source.shape,
        resampler=Resampler(judge.preprocess(recipe).crop, manifest.input, recipe.source.bayer),
        master=None if masters is None else lambda view: masters.get(view).input,
    )
    return Seat(engine=engine, shape=manifest.input.shape, references=references, gallery=gallery, layer=layer)
