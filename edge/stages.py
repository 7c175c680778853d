"""The process of one stage: puts it together from the line's plan and runs it.

The process begins in start.py.
"""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TypeGuard

import msgspec

from .arming import armed_engine
from .capture import Capture, run_capture, shown
from .cores import engine_cores, leave_to_engine
from .endpoint import claim
from .engines.base import Engine
from .errors import EdgeError, LineError
from .gallery import Gallery
from .inbox import Inbox
from .infer import Infer, Layer, References, Seat
from .judges import Judge, digest_of, read_judges
from .ledger import Ledger
from .leftovers import Leftovers
from .life import Life, hurry
from .masters import digest_of_picture
from .messages import Frame, Message, Tensor
from .plan import RUNNING, VERDICTS, Plan, Running, read_plan
from .preprocess import PreprocessStep
from .publish import PATIENCE_NS, Publisher, run_publish
from .recipe import Recipe, Video
from .resample import Resampler
from .ring import Ring
from .run_folder import hold
from .sources import open_source
from .stage import relay
from .verdict import Bench, Identity, Said, is_said
from .wires import Wires

log = logging.getLogger(__name__)

PRIORITY = {"publish": 20, "capture": 10, "preprocess": 5, "infer": 5}  # of what has to be prompt


def run_stage(folder: Path, stage: str, supervisor: int) -> None:
    """Run one stage until it is told to stop or, for capture, until the source ends."""
    plan = read_plan(folder)
    if stage != "infer":  # whose engine comes first
        hurry(PRIORITY[stage])
        leave_to_engine(plan.recipe.engine.threads)
    ledger, ring = Ledger.open(folder / "ledger"), Ring.open(folder / "ring")
    with Life(ledger, stage, supervisor) as life, Wires(folder, ledger.run) as wires:
        _RUN[stage](plan, folder, life, wires, ledger, ring)


def _capture(plan: Plan, folder: Path, life: Life, wires: Wires, ledger: Ledger, ring: Ring) -> None:
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


def _preprocess(plan: Plan, folder: Path, life: Life, wires: Wires, ledger: Ledger, ring: Ring) -> None:
    preparers = [judge.preparer(plan.recipe) for judge in _looking_judges(plan)]
    shape = plan.recipe.source.shape

    def fits(message: Message) -> TypeGuard[Frame]:
        return isinstance(message, Frame) and message.shape == shape

    inbox = Inbox(wires.inbox("preprocess"), ledger, "preprocess", fits)
    life.ready()

    @cache  # not before the first part comes: infer may still be loading
    def laid_by_engine() -> tuple[bool, ...]:
        return msgspec.json.decode((folder / RUNNING).read_bytes(), type=Running).laid_by_engine

    step = PreprocessStep(ring, preparers, laid_by_engine)
    relay("preprocess", life, inbox, wires.to("infer"), wires.to("publish"), step, _guard_ns(plan))


def _infer(plan: Plan, folder: Path, life: Life, wires: Wires, ledger: Ledger, ring: Ring) -> None:
    threads = plan.recipe.engine.threads
    with ExitStack() as opened:
        with engine_cores(threads):
            judges = _looking_judges(plan)
            armed = [opened.enter_context(armed_engine(plan.recipe.engine, judge.bundle)) for judge in judges]
            seats = [_seat(judge, each.engine, plan.recipe) for judge, each in zip(judges, armed, strict=True)]
        hurry(PRIORITY["infer"])
        leave_to_engine(threads)
        running = Running(
            engine=", ".join(dict.fromkeys(seat.engine.name for seat in seats)),
            precision=", ".join(dict.fromkeys(seat.engine.precision for seat in seats)),
            laid_by_engine=tuple(seat.engine.lays for seat in seats),
            left_out={kind: why for each in armed for kind, why in each.left_out.items()},
        )
        (folder / RUNNING).write_bytes(msgspec.json.encode(running))

        def fits(message: Message) -> TypeGuard[Tensor]:
            return isinstance(message, Tensor) and len(message.inputs) == len(judges)

        inbox = Inbox(wires.inbox("infer"), ledger, "infer", fits)
        life.ready()
        step = Infer(ring, seats)
        relay("infer", life, inbox, wires.to("publish"), wires.to("publish"), step, _guard_ns(plan))


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


def _publish(plan: Plan, folder: Path, life: Life, wires: Wires, ledger: Ledger, ring: Ring) -> None:
    recipe, judges = plan.recipe, _judges(plan)
    bench = Bench(
        rules=tuple(judge.rule for judge in judges),
        outputs=tuple(judge.bundle.manifest.answers for judge in judges),
        fusion=recipe.fusion,
    )
    publisher = Publisher(ring, ledger, bench, _identity(plan), _guard_ns(plan), _patience_ns(recipe))

    def fits(message: Message) -> TypeGuard[Said]:
        return is_said(message, len(judges))

    inbox = Inbox(wires.inbox("publish"), ledger, "publish", fits)
    hold(folder)
    for endpoint in recipe.publish.endpoints:
        claim(endpoint)
    socket = wires.publisher((*recipe.publish.endpoints, f"ipc://{folder}/{VERDICTS}.ipc"))
    left = Leftovers([_left(Path(path), plan) for path in plan.left], bench, time.monotonic_ns())
    run_publish(life, publisher, inbox, socket, recipe.publish.heartbeat_ms * 1_000_000, left)


def _left(folder: Path, plan: Plan) -> tuple[Ledger, Identity]:
    """The ledger of a run that was killed, and what its verdicts say of the line."""
    try:
        of_then = read_plan(folder)
    except (OSError, msgspec.MsgspecError) as error:
        log.warning("%s: %s: its parts are told as those of this run", folder, error)
        of_then = plan
    return Ledger.open(folder / "ledger"), _identity(of_then)


def _identity(plan: Plan) -> Identity:
    unknown = plan.recipe.rule.unknown
    return Identity(
        line=plan.recipe.line,
        recipe=plan.recipe_digest,
        bundle=plan.bundle_digest,
        accepted=frozenset(reason for reason, action in unknown.items() if action == "accept"),
    )


_RUN = {"capture": _capture, "preprocess": _preprocess, "infer": _infer, "publish": _publish}


def _patience_ns(recipe: Recipe) -> int:
    """Within this time a camera that was opened and delivers nothing is given up."""
    return PATIENCE_NS + (recipe.source.timeout_ms * 1_000_000 if isinstance(recipe.source, Video) else 0)


def _guard_ns(plan: Plan) -> int:
    return round(plan.recipe.timing.guard_ms * 1e6)


def _judges(plan: Plan) -> tuple[Judge, ...]:
    judges = read_judges(plan.recipe)
    if digest_of(judges) != plan.bundle_digest:
        names = ", ".join(judge.choice.bundle for judge in judges)
        raise LineError(f"{names}: a bundle has changed since the line was started: restart it")
    return tuple(replace(judge, pictures=plan.pictures) for judge in judges)


def _looking_judges(plan: Plan) -> tuple[Judge, ...]:
    """The judges of a stage that compares parts with pictures; LineError where these are not what they were."""
    for path, digest in plan.pictures.items():
        if digest_of_picture(path) != digest:
            raise LineError(f"{path}: has changed since the line was started: restart the line")
    return _judges(plan)


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
