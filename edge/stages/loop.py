"""Runs the loop of a stage: receive messages, start the step on them, collect the results, send them.

A part that the step cannot judge goes to publish as `Unknown`. Any other error ends the process, and the
supervisor restarts it; messages wait in the inbox meanwhile.
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

#: After this many failures in a row, the stage ends, so that its next process loads the engine anew.
ENGINE_FAILURES = 3


class Step(Protocol):
    """What a stage does with messages: `start` a batch of up to `batch` on a lane, `finish` the first batch.

    Both return the parts that cannot be judged as `Unknown`, and raise EngineLost where this process can judge
    no more parts.
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
    """Run a step over everything that comes in, until told to stop.

    Starts parts as soon as the schedule allows, while others are still in work. Where the engine is lost or
    fails ENGINE_FAILURES times in a row, sends the parts in work as `Unknown` and raises EngineError.
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
    """Return the message's part as one that cannot be judged, with the error's reason and text."""
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
    """Return the message with the time at which this stage was done with it."""
    return msgspec.structs.replace(message, done_ns={**message.done_ns, name: time.monotonic_ns()})
