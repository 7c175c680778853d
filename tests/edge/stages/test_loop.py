"""The loop of a stage: what it starts and finishes, in which order, and how it waits meanwhile."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import zmq
from parts import part_of

from edge.errors import EngineError, EngineLost
from edge.memory.ledger import Ledger
from edge.memory.stages import Stages
from edge.messages import Frame, Input, Message, Part, Prediction, Tensor, Unknown
from edge.stages.inbox import Inbox
from edge.stages.liveness import Liveness
from edge.stages.loop import ENGINE_FAILURES, refuse, relay
from edge.stages.sockets import Sockets
from edge.wire import pack

FOREVER_NS = 10**18
INPUT = Input(to_frame=(1, 0, 0, 0, 1, 0), registration_px=None)


class Stage:
    """A ledger, an inbox and a loop around a step; parts come when the test says so."""

    def __init__(self, folder: Path, sockets: Sockets, stages: Stages) -> None:
        self.ledger, self.stages = Ledger.create(folder / "ledger"), stages
        self.liveness = Liveness(stages, "infer", os.getppid())
        ledgers, inbox = {"camera": self.ledger}, sockets.inbox("infer")
        self.inbox: Inbox[Tensor] = Inbox(inbox, ledgers, stages, "infer", lambda message: True)  # type: ignore[arg-type]
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PUSH)
        self._socket.connect(f"ipc://{folder}/infer.ipc")
        self.sent: list[Message] = []
        self.seen = 0  # parts that the test sent and the socket has

    def close(self) -> None:
        self._context.destroy(linger=0)

    def send(self, deadline_ns: int = FOREVER_NS) -> None:
        """Enter a part into the ledger and send it to the stage."""
        part = self.ledger.enter(part_of(self.ledger.captured, deadline_ns=deadline_ns))
        self._socket.send(pack(Tensor(part=part, inputs=(INPUT,), done_ns={}), self.stages.run))

    def run(self, step: Step) -> None:
        """Run the loop until the step has finished as many parts as it is to."""
        step.on_last = lambda: setattr(self.liveness, "stopping", True)
        relay("infer", self.liveness, self.inbox, self.sent.append, self.sent.append, step, guard_ns=0)

    @property
    def outcomes(self) -> list[tuple[int, str]]:
        """For each part that the stage sent on, in this order: its number and why it is unknown, if it is."""
        return [(each.part.entry, each.detail if isinstance(each, Unknown) else "") for each in self.sent]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stages = Stages.create(tmp_path / "stages", ["infer"])
    with Sockets(tmp_path, stages.run) as sockets:
        made = Stage(tmp_path, sockets, stages)
        yield made
        made.close()


class Step:
    """Lanes for single parts. A part is ready when the test says so; a wait for one that never is fails."""

    batch = 1

    def __init__(self, lanes: int, parts: int, *, waits: bool = False) -> None:
        self.lanes, self.parts, self.waits = lanes, parts, waits
        self.in_work: list[Tensor] = []
        self.ready_parts: set[int] = set()
        self.log: list[str] = []
        self.asked = 0  # how often `ready` was called
        self.on_start: Callable[[int], None] = lambda entry: None
        self.on_last: Callable[[], None] = lambda: None
        self.error: EngineError | None = None  # what becomes of each part

    def start(self, messages: Sequence[Frame | Tensor]) -> list[Unknown]:
        (message,) = messages
        assert isinstance(message, Tensor)
        self.in_work.append(message)
        assert len(self.in_work) <= self.lanes
        self.log.append(f"start {message.part.entry}")
        self.on_start(message.part.entry)
        return []

    def ready(self, position: int, timeout_s: float = 0.0) -> bool:
        assert self.waits or not timeout_s
        self.asked += 1
        end = time.monotonic() + timeout_s
        while (entry := self.in_work[position].part.entry) not in self.ready_parts and time.monotonic() < end:
            time.sleep(0.0001)
        return entry in self.ready_parts

    def finish(self, position: int) -> list[Prediction | Unknown]:
        message = self.in_work[position]
        entry = message.part.entry
        end = time.monotonic() + 10
        while entry not in self.ready_parts:
            assert time.monotonic() < end, f"part {entry} is waited for, and will not be ready"
            time.sleep(0.001)
        if isinstance(self.error, EngineLost):
            raise self.error
        del self.in_work[position]
        self.log.append(f"finish {entry}")
        self.parts -= 1
        if not self.parts:
            self.on_last()
        if self.error is not None:
            return [refuse(message, self.error)]
        return [Prediction(part=message.part, inputs=message.inputs, engine_ns=1, done_ns={})]


waiting = pytest.mark.parametrize("waits", [True, False], ids=["the engine waits", "it is asked"])


@waiting
def test_a_part_that_comes_while_another_is_in_work_starts_at_once(stage: Stage, waits: bool) -> None:
    """On the idle lane, long before the first is done: here the first is only done after the second."""
    step = Step(lanes=2, parts=2, waits=waits)

    def on_start(entry: int) -> None:
        if entry == 0:
            threading.Timer(0.05, stage.send).start()
        else:
            step.ready_parts |= {0, 1}

    step.on_start = on_start
    stage.send()
    stage.run(step)
    assert step.log == ["start 0", "start 1", "finish 0", "finish 1"]


@waiting
def test_the_batch_that_is_ready_first_is_finished_first(stage: Stage, waits: bool) -> None:
    """Whatever the order in which they were started; publish puts the verdicts in order."""
    step = Step(lanes=3, parts=3, waits=waits)
    later = {"finish 2": 0, "finish 0": 1}

    def on_start(entry: int) -> None:
        if entry == 2:
            step.ready_parts.add(2)

    def publish(message: Message) -> None:
        stage.sent.append(message)
        if (following := later.get(step.log[-1])) is not None:
            step.ready_parts.add(following)

    step.on_start = on_start
    step.on_last = lambda: setattr(stage.liveness, "stopping", True)
    for _ in range(3):
        stage.send()
    relay("infer", stage.liveness, stage.inbox, publish, publish, step, guard_ns=0)
    assert [entry for entry, _ in stage.outcomes] == [2, 0, 1]


def test_the_deadline_counts_as_it_is_when_the_work_can_begin(stage: Stage) -> None:
    """Not as it was at the part's trigger: this one was past, and was put off since."""
    step = Step(lanes=1, parts=1)
    step.on_start = step.ready_parts.add
    step.on_last = lambda: setattr(stage.liveness, "stopping", True)
    stage.send(deadline_ns=1)
    stage.send()

    def deadline(part: Part, now_ns: int) -> int:
        return now_ns + FOREVER_NS

    send = stage.sent.append
    relay("infer", stage.liveness, stage.inbox, send, send, step, guard_ns=0, deadline=deadline)
    assert stage.outcomes == [(0, "")]


@waiting
def test_a_long_wait_costs_little(stage: Stage, waits: bool) -> None:
    """The loop looks after messages and results less and less often, not 2,000 times as at the start."""
    step = Step(lanes=2, parts=1, waits=waits)
    step.on_start = lambda entry: threading.Timer(0.2, step.ready_parts.add, (entry,)).start()
    stage.send()
    began = time.monotonic()
    stage.run(step)
    assert step.log == ["start 0", "finish 0"]
    assert 0 < step.asked < 2000 * (time.monotonic() - began)


@waiting
def test_when_all_lanes_are_busy_the_oldest_is_waited_for(stage: Stage, waits: bool) -> None:
    """Nothing could start meanwhile, and the engine wakes the thread without any polls."""
    step = Step(lanes=2, parts=2, waits=waits)

    def on_start(entry: int) -> None:
        if entry == 1:
            step.asked = 0
            threading.Timer(0.2, step.ready_parts.update, ({0, 1},)).start()

    step.on_start = on_start
    for _ in range(2):
        stage.send()
    stage.run(step)
    assert step.log == ["start 0", "start 1", "finish 0", "finish 1"]
    assert step.asked < 100


def test_an_engine_that_fails_again_and_again_is_loaded_anew(stage: Stage) -> None:
    """The parts in work and those that wait are told why."""
    step = Step(lanes=2, parts=100)
    step.error = EngineError("no result")
    step.on_start = step.ready_parts.add
    for _ in range(ENGINE_FAILURES):
        stage.send()
    with pytest.raises(EngineError, match=f"failed {ENGINE_FAILURES} times in a row"):
        stage.run(step)
    assert stage.outcomes == [(entry, "no result") for entry in range(ENGINE_FAILURES)]


def test_of_a_lost_device_all_parts_in_work_are_told(stage: Stage) -> None:
    """Also the part that was waited for, whichever lane it was on."""
    step = Step(lanes=2, parts=2)
    step.error = EngineLost("the GPU does not answer")

    def on_start(entry: int) -> None:
        if entry == 1:
            step.ready_parts.add(1)

    step.on_start = on_start
    for _ in range(2):
        stage.send()
    with pytest.raises(EngineLost):
        stage.run(step)
    assert stage.outcomes == [(entry, "the GPU does not answer") for entry in range(2)]
