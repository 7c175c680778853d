"""Runs the loop of a stage: receives messages, starts work on them, collects the results and sends them.

For a part that cannot be judged, the stage sends an `Unknown` to publish. Any other error ends the process, and
the supervisor restarts the process. Messages that come meanwhile are kept.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from ..belt.deadline import DeadlineAt, fixed_deadline
from ..errors import EngineError, PartError, SlotOverwritten
from ..messages import Frame, Message, Prediction, Tensor, Unknown, UnknownReason
from ..text import DETAIL_BYTES, fitted
from .inbox import Inbox
from .liveness import TICK_MS, Liveness
from .schedule import Schedule

log = logging.getLogger(__name__)

#: After this many failures in a row, the process ends, and the process that follows loads the engine again.
ENGINE_FAILURES = 3
# How long the loop waits for a message or for a result before it looks after the other: a share of the time for
# which it has waited in all, within these limits. So short waits end soon, and long ones cost little.
SHORTEST_WAIT_S, WAIT_SHARE, LONGEST_WAIT_S = 100e-6, 1 / 16, 2e-3


class Step(Protocol):
    """The work of a stage: `start` begins a batch of messages, and `finish` waits for a batch's results.

    A batch has up to `batch` messages, and up to `lanes` batches can be in work at a time. A batch is known by
    its position, the number of batches in work that were started before it. `ready` says whether `finish`
    would not wait; a step that `waits` waits for this for about `timeout_s`. `start` and `finish` return an
    `Unknown` for each part that cannot be judged, and raise EngineLost if this process cannot go on.
    """

    lanes: int
    batch: int
    waits: bool

    def start(self, messages: Sequence[Frame | Tensor]) -> Sequence[Unknown]: ...

    def ready(self, position: int, timeout_s: float = 0.0) -> bool: ...

    def finish(self, position: int) -> Sequence[Tensor | Prediction | Unknown]: ...


def relay(
    name: str,
    liveness: Liveness,
    inbox: Inbox[Frame] | Inbox[Tensor],
    onward: Callable[[Message], None],
    publish: Callable[[Message], None],
    step: Step,
    guard_ns: int,
    deadline: DeadlineAt = fixed_deadline,
) -> None:
    """Run the loop of the stage `name` until the stop signal comes. `step` does the stage's work on messages.

    Calls `onward` with each result, and `publish` with each part that cannot be judged. While batches are in
    work, it starts new parts as soon as the schedule allows, and finishes the batch that is ready first. It
    plans by each part's `deadline` as it is at that time. If the engine is lost or fails ENGINE_FAILURES times
    in a row, publishes an `Unknown` for each part that waits or is in work, and raises EngineError.
    """
    schedule: Schedule[Frame | Tensor] = Schedule(lanes=step.lanes, batch=step.batch, guard_ns=guard_ns)
    failures = progress_ns = 0

    def deadline_at(message: Frame | Tensor, now_ns: int) -> int:
        return deadline(message.part, now_ns)

    try:
        while not liveness.stopping:
            liveness.beat()
            while schedule.has_room and inbox.poll(TICK_MS if schedule.is_idle else 0):
                if (message := inbox.take()) is None:
                    break
                schedule.enter(message)
            outcomes: Sequence[Tensor | Prediction | Unknown] = ()
            if messages := schedule.next(time.monotonic_ns(), deadline_at):
                outcomes = refused = step.start(messages)
                gone = {unknown.part.entry for unknown in refused}
                schedule.refused(message for message in messages if message.part.entry in gone)
                progress_ns = time.monotonic_ns()
            elif (position := _first_done(step, schedule)) is not None:
                outcomes = step.finish(position)
                progress_ns = time.monotonic_ns()
                schedule.done(progress_ns, position)
            elif schedule.in_flight:
                waited_s = (time.monotonic_ns() - progress_ns) / 1e9
                timeout_s = min(max(waited_s * WAIT_SHARE, SHORTEST_WAIT_S), LONGEST_WAIT_S)
                if step.waits:
                    step.ready(0, timeout_s)
                else:
                    inbox.wait(timeout_s)
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


def _first_done(step: Step, schedule: Schedule[Frame | Tensor]) -> int | None:
    """Return the position of the batch to finish now; None if none is ready and something else may come first.

    If all lanes are busy, it is the oldest batch: nothing could be started meanwhile, and the engine or the
    device wakes this thread at the right moment.
    """
    for position in range(schedule.in_flight):
        if step.ready(position):
            return position
    return 0 if schedule.is_full else None


def refuse(message: Message, error: PartError | SlotOverwritten | EngineError) -> Unknown:
    """Return an `Unknown` for the message's part. It has the reason and the text of the error."""
    reason: UnknownReason = "engine"
    if isinstance(error, PartError):
        reason = error.reason
    elif isinstance(error, SlotOverwritten):
        reason = "overwritten"
    else:
        log.error("part %s: %s", message.part.part_id, error)
    return Unknown(
        part=message.part,
        reason=reason,
        detail=fitted(str(error), DETAIL_BYTES),
        health=message.health if isinstance(message, Tensor | Prediction) else None,
        done_ns=message.done_ns,
    )


def stamp(name: str, message: Message) -> Message:
    """Return a copy of the message, with the current time as the time when the stage `name` was done."""
    return msgspec.structs.replace(message, done_ns={**message.done_ns, name: time.monotonic_ns()})
