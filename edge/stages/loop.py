"""How a stage runs: receive, step, send, time.

A stage is one process with one loop. It binds its inbox and connects to the inboxes it sends to, so
messages wait for a stage that is being restarted. What it does with a message is its step's business;
a part that the step cannot judge goes on to publish as `unknown`, anything worse ends the process and
the supervisor starts it anew.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from ..errors import EngineError, PartError, SlotOverwritten
from ..messages import Frame, Message, Prediction, Tensor, Unknown, UnknownReason
from ..text import DETAIL_BYTES, fitted
from .inbox import Inbox
from .liveness import TICK_MS, Liveness
from .schedule import Schedule

log = logging.getLogger(__name__)

ENGINE_FAILURES = 3  # in a row, after which the engine is loaded anew


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
    liveness: Liveness,
    inbox: Inbox[Frame] | Inbox[Tensor],
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
        while not liveness.stopping:
            liveness.beat()
            while schedule.has_room and inbox.poll(TICK_MS if schedule.is_idle else 0):
                if (message := inbox.take()) is None:
                    break
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


def refuse(message: Message, error: PartError | SlotOverwritten | EngineError) -> Unknown:
    """The message's part as one that cannot be judged, with the error's reason and words."""
    reason: UnknownReason = "engine"
    if isinstance(error, PartError):
        reason = error.reason
    elif isinstance(error, SlotOverwritten):
        reason = "overwritten"
    else:
        log.error("part %s: %s", message.part.part_id, error)
    return Unknown(
        part=message.part, reason=reason, detail=fitted(str(error), DETAIL_BYTES), done_ns=message.done_ns
    )


def stamp(name: str, message: Message) -> Message:
    """The message with the time at which this stage was done with it."""
    return msgspec.structs.replace(message, done_ns={**message.done_ns, name: time.monotonic_ns()})
