"""Runs a preprocess process, which prepares each judge's input for the parts that a camera sees."""

from __future__ import annotations

from functools import cache
from typing import TypeGuard

import msgspec

from ...image.health import HealthMeter
from ...messages import Frame, Running, Sent
from ...recipe import Video
from ...sources import is_live
from ...stages.inbox import Inbox
from ...stages.loop import relay
from ...stages.preprocess import PreprocessStep
from ..plan import RUNNING
from . import Run
from .judges import looking_judges


def run(run: Run) -> None:
    """Prepare the inputs of each part that comes, until the stop signal comes."""
    camera = run.camera
    preparers = [judge.preparer() for judge in looking_judges(run.plan)[camera.name]]
    shape = camera.source.shape

    def fits(message: Sent) -> TypeGuard[Frame]:
        return isinstance(message, Frame) and message.shape == shape

    ledgers = {camera.name: run.ledgers[camera.name]}
    inbox = Inbox(run.sockets.inbox(run.name), ledgers, run.stages, run.name, fits)
    run.liveness.ready()

    # Not read before the first part comes: until then infer may still be loading its engines.
    @cache
    def warped_by_engine() -> tuple[bool, ...]:
        running = msgspec.json.decode((run.folder / RUNNING).read_bytes(), type=Running)
        return running.warped_by_engine[camera.name]

    source = camera.source
    meter = HealthMeter(run.plan.recipe.preprocess.crop, source.bayer, is_live=is_live(source))
    step = PreprocessStep(
        run.rings[camera.name],
        preparers,
        warped_by_engine,
        meter=meter,
        frozen_after=source.frozen_after if isinstance(source, Video) else 0,
    )
    to = run.sockets.to
    relay("preprocess", run.liveness, inbox, to("infer"), to("publish"), step, run.plan.guard_ns, run.deadline)
