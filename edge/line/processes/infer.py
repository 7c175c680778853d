"""Runs the infer process, which opens and checks each judge's engine and runs it on the parts that come."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TypeGuard

import msgspec

from ...engines.base import Engine
from ...engines.trials import Trials
from ...judges.arming import Armed, armed_engine
from ...judges.gallery import Gallery
from ...judges.judge import Judge
from ...messages import Message, Running, Tensor
from ...stages.inbox import Inbox, are_finite
from ...stages.infer import Infer, JudgeEngine, Looks
from ...stages.loop import relay
from ...stages.references import References
from ..cpu import engine_cores, leave_to_engine, take_realtime_priority
from ..plan import RUNNING, TRIALS
from . import PRIORITY, Run
from .judges import looking_judges

log = logging.getLogger(__name__)


def run(run: Run) -> None:
    """Open and check the judges' engines, and run them on the parts that come, until the stop signal comes."""
    plan, threads = run.plan, run.plan.recipe.engine.threads
    with Trials(run.folder / TRIALS) as trials, ExitStack() as opened:
        with engine_cores(threads):
            judges = looking_judges(plan)
            armed: dict[tuple[str, int], Armed] = {}
            tiles: Counter[tuple[str, int]] = Counter()
            for of_camera in judges.values():
                for key, judge in zip(_keys(of_camera), of_camera, strict=True):
                    tiles[key] = max(tiles[key], judge.manifest.grid.count)
            for of_camera in judges.values():
                for key, judge in zip(_keys(of_camera), of_camera, strict=True):
                    if key not in armed:
                        engine = armed_engine(plan.recipe.engine, judge.bundle, tiles[key], trials)
                        armed[key] = opened.enter_context(engine)
            cameras = {
                name: Looks(
                    ring=run.rings[name],
                    frame=of_camera[0].recipe.source.shape,
                    judges=[
                        _with_engine(judge, armed[key].engine)
                        for key, judge in zip(_keys(of_camera), of_camera, strict=True)
                    ],
                )
                for name, of_camera in judges.items()
            }
        take_realtime_priority(PRIORITY["infer"])
        leave_to_engine(threads)
        running = _running(list(armed.values()), cameras)
        (run.folder / RUNNING).write_bytes(msgspec.json.encode(running))

        def fits(message: Message) -> TypeGuard[Tensor]:
            if not isinstance(message, Tensor) or message.part.camera not in cameras:
                return False
            asked = len(cameras[message.part.camera].judges)
            return len(message.inputs) == asked and are_finite(message.inputs)

        inbox = Inbox(run.sockets.inbox("infer"), run.ledgers, run.stages, "infer", fits)
        step = Infer(cameras)
        step.warm()
        trials.end()
        run.liveness.ready()
        to_publish = run.sockets.to("publish")
        relay("infer", run.liveness, inbox, to_publish, to_publish, step, plan.guard_ns)


def _keys(judges: Sequence[Judge]) -> list[tuple[str, int]]:
    """Return a key for the engine of each judge of a camera: its bundle, and how many such judges come before.

    Judges of different cameras with the same key share an engine. Judges of one camera do not, so a part gives
    an engine no more samples than a judge has tiles.
    """
    before: Counter[str] = Counter()
    keys = []
    for judge in judges:
        keys.append((judge.bundle.digest, before[judge.bundle.digest]))
        before[judge.bundle.digest] += 1
    return keys


def _running(armed: Sequence[Armed], cameras: Mapping[str, Looks]) -> Running:
    """Return what the metrics and preprocess must know about the engines."""
    return Running(
        engine=", ".join(dict.fromkeys(each.engine.name for each in armed)),
        precision=", ".join(dict.fromkeys(each.engine.precision for each in armed)),
        warped_by_engine={
            name: tuple(judge.engine.warps_frames for judge in looks.judges) for name, looks in cameras.items()
        },
        left_out={name: why for each in armed for name, why in each.left_out.items()},
        fell_back=tuple(dict.fromkeys(name for each in armed for name in each.fell_back)),
    )


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
