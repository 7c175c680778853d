"""How a stage runs: receive, step, send, time, show life, stop.

A stage is one process with one loop. It binds its inbox and connects to the inboxes it sends to, so
messages wait for a stage that is being restarted. What it does with a message is its step's business;
a part that the step cannot judge goes on to publish as `unknown`, anything worse ends the process and
the supervisor starts it anew.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Protocol

import msgspec
import zmq

from .errors import EngineError, LineError, PartError, SlotOverwritten
from .ledger import ROWS, Ledger
from .messages import Frame, Message, Prediction, Reason, Tensor, Unknown
from .schedule import Schedule
from .wire import pack, unpack

log = logging.getLogger(__name__)

TICK_MS = 100  # at most so long between two signs of life
LINGER_MS = 200  # for what was sent last; a receiver may be gone for good
PUBLISH_HWM = 10_000  # messages kept for a slow subscriber, some 10 MB
ENGINE_FAILURES = 3  # in a row, after which the engine is loaded anew


class Life:
    """What the supervisor sees of a stage, and what the stage hears of its supervisor."""

    def __init__(self, ledger: Ledger, stage: str) -> None:
        self._row = ledger.stages[stage]
        self._parent = os.getppid()
        self.stopping = False

    def __enter__(self) -> Life:
        def stop(number: int, frame: FrameType | None) -> None:
            self.stopping = True

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the supervisor, which stops us in order
        self._row["pid"] = os.getpid()
        return self

    def __exit__(self, *error: object) -> None:
        self._row["ready"] = 0

    def ready(self) -> None:
        """From here on the stage takes parts."""
        self.beat()
        self._row["ready"] = 1

    def beat(self) -> None:
        """Show life; stop where the supervisor is gone."""
        self._row["beat_ns"] = time.monotonic_ns()
        if os.getppid() != self._parent:
            self.stopping = True


def hurry(priority: int) -> None:
    """Have this process run before ordinary ones when it is due, where the system allows it (LimitRTPRIO).

    Without it a busy machine can hold up a verdict for longer than the guard before its deadline.
    """
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))


class Wires:
    """The sockets of one stage: its inbox, and a way to each other stage's inbox."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._context = zmq.Context()
        self._context.setsockopt(zmq.LINGER, LINGER_MS)  # for sockets that are closed before it, too

    def __enter__(self) -> Wires:
        return self

    def __exit__(self, *error: object) -> None:
        self._context.destroy()

    def inbox(self, stage: str) -> zmq.Socket[bytes]:
        """The socket on which `stage` receives; bounded by the rows of the ledger."""
        socket = self._context.socket(zmq.PULL)
        socket.set_hwm(ROWS)
        socket.bind(f"ipc://{self._folder}/{stage}.ipc")
        return socket

    def publisher(self, endpoints: tuple[str, ...]) -> zmq.Socket[bytes]:
        """The socket on which verdicts go out: a PUB that tells of each subscriber that comes.

        A subscriber that falls PUBLISH_HWM messages behind loses the newest ones.
        """
        socket = self._context.socket(zmq.XPUB)
        socket.set_hwm(PUBLISH_HWM)
        socket.setsockopt(zmq.XPUB_VERBOSE, 1)
        for endpoint in endpoints:
            try:
                socket.bind(endpoint)
            except zmq.ZMQError as error:
                raise LineError(
                    f"publish.endpoints: cannot bind {endpoint}: {error.strerror}: "
                    "give the line an endpoint of its own"
                ) from error
        return socket

    def to(self, stage: str) -> Callable[[Message], None]:
        """A function that sends to `stage`; it never waits: a part it cannot send turns `late`."""
        socket = self._context.socket(zmq.PUSH)
        socket.set_hwm(ROWS)
        socket.connect(f"ipc://{self._folder}/{stage}.ipc")

        def send(message: Message) -> None:
            try:
                socket.send(pack(message), zmq.NOBLOCK)
            except zmq.Again:
                log.error("part %s: %s takes no more messages", message.part.part_id, stage)

        return send


class Step(Protocol):
    """What a stage does with messages: `start` up to `batch` at once on each of its lanes, `finish` the first.

    Parts that cannot be judged are among what either returns, as `Unknown`. Raises EngineLost where nothing
    more can be judged by this process.
    """

    lanes: int
    batch: int

    def start(self, messages: Sequence[Frame | Tensor]) -> Sequence[Unknown]: ...

    def finish(self) -> Sequence[Tensor | Prediction | Unknown]: ...


def relay(
    name: str,
    life: Life,
    inbox: zmq.Socket[bytes],
    onward: Callable[[Message], None],
    publish: Callable[[Message], None],
    step: Step,
    guard_ns: int,
) -> None:
    """Run a step over everything that comes in, until the supervisor says stop.

    While parts are being worked on, the next are started as soon as they come, as the schedule says. An engine
    that is lost, or fails ENGINE_FAILURES times in a row, ends the stage; parts that it has are `unknown` then.
    """
    schedule: Schedule[Frame | Tensor] = Schedule(lanes=step.lanes, batch=step.batch, guard_ns=guard_ns)
    failures = 0
    try:
        while not life.stopping:
            life.beat()
            while schedule.has_room and inbox.poll(TICK_MS if schedule.is_idle else 0):
                message = _taken(name, inbox)
                schedule.enter(message, message.part.deadline_ns)
            outcomes: Sequence[Tensor | Prediction | Unknown] = ()
            if messages := schedule.next(time.monotonic_ns()):
                outcomes = refused = step.start(messages)
                gone = {unknown.part.entry for unknown in refused}
                schedule.refused(message for message in messages if message.part.entry in gone)
            elif schedule.in_flight and (schedule.is_full or not inbox.poll(0)):
                outcomes = step.finish()
                schedule.done(time.monotonic_ns())
            for outcome in outcomes:
                (publish if isinstance(outcome, Unknown) else onward)(stamp(name, outcome))
            if any(isinstance(outcome, Unknown) and outcome.reason == "engine" for outcome in outcomes):
                failures += 1
            elif any(not isinstance(outcome, Unknown) for outcome in outcomes):
                failures = 0
            if failures == ENGINE_FAILURES:
                raise EngineError(f"the engine failed {failures} times in a row: loading it anew")
    except EngineError as error:
        for message in schedule.left():
            publish(stamp(name, refuse(message, error)))
        raise


def _taken(name: str, inbox: zmq.Socket[bytes]) -> Frame | Tensor:
    message = unpack(inbox.recv())
    if not isinstance(message, (Frame, Tensor)):
        raise TypeError(f"{name} got a {type(message).__name__}")
    return message


def refuse(message: Message, error: PartError | SlotOverwritten | EngineError) -> Unknown:
    """The message's part as one that cannot be judged, with the error's reason and words."""
    reason: Reason = "engine"
    if isinstance(error, PartError):
        reason = error.reason
    elif isinstance(error, SlotOverwritten):
        reason = "overwritten"
    else:
        log.error("part %s: %s", message.part.part_id, error)
    return Unknown(part=message.part, reason=reason, detail=str(error), done_ns=message.done_ns)


def stamp(name: str, message: Message) -> Message:
    """The message with the time at which this stage was done with it."""
    return msgspec.structs.replace(message, done_ns={**message.done_ns, name: time.monotonic_ns()})
