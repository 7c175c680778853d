"""Runs the infer process, which opens and checks each judge's engine and runs it on the parts that come."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TypeGuard

import msgspec

from ...engines.trials import Trials
from ...messages import Part, Sent, Tensor
from ...stages.armed import armed_cameras
from ...stages.inbox import Inbox, is_sound
from ...stages.infer import Infer
from ...stages.loop import relay
from ..cpu import engine_cores, leave_to_engine, take_realtime_priority
from ..plan import RUNNING, SPARE, TRIALS
from . import PRIORITY, Run
from .judges import looking_judges
from .spare import await_take_over, step_back


def run(run: Run) -> None:
    """Open and check the judges' engines, and run them on the parts that come, until the stop signal comes.

    A spare process waits, with its engines open and warm, until the supervisor tells it to take over.
    """
    plan, threads, is_spare = run.plan, run.plan.recipe.engine.threads, run.name == SPARE
    if is_spare:
        step_back()
    with Trials(run.folder / TRIALS, only_read=is_spare) as trials, ExitStack() as opened:
        with engine_cores(threads):
            armed = opened.enter_context(
                armed_cameras(plan.recipe.engine, looking_judges(plan), run.rings, trials)
            )
        cameras, step = armed.cameras, Infer(armed.cameras)
        if is_spare:
            step.warm()
            if not await_take_over(run, armed.running):
                return
            # Its masters or bundles may have changed since it read them.
            looking_judges(plan)
        take_realtime_priority(PRIORITY["infer"])
        leave_to_engine(threads)
        (run.folder / RUNNING).write_bytes(msgspec.json.encode(armed.running))

        def fits(message: Sent) -> TypeGuard[Tensor]:
            if not isinstance(message, Tensor) or message.part.camera not in cameras:
                return False
            asked = len(cameras[message.part.camera].judges)
            return len(message.inputs) == asked and is_sound(message)

        def took(part: Part) -> None:
            run.ledgers[part.camera].take(part.entry, os.getpid())

        inbox = Inbox(run.sockets.inbox("infer"), run.ledgers, run.stages, "infer", fits, took)
        if not is_spare:
            step.warm()
        trials.end()
        run.liveness.ready()
        to_publish = run.sockets.to("publish")
        relay("infer", run.liveness, inbox, to_publish, to_publish, step, plan.guard_ns, run.deadline)
