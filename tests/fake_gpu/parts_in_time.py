"""Runs the loop of infer on the fake GPU in virtual time, on parts that arrive at random.

The network takes as long as the copy of its input, COPY_NS, and nothing else takes any time.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import msgspec
import numpy as np
from fake_gpu import fake
from fake_gpu.parts_through_lanes import FRAME, Line, Report, Task, engine_of

import edge.stages.loop
from edge.bundle import read_bundle
from edge.engines.trt import TensorRT
from edge.memory.ring import Ring
from edge.messages import Message, Prediction, Tensor, Unknown
from edge.stages.infer import Infer
from edge.stages.judge_engine import Looks
from edge.stages.loop import relay

COPY_NS = 1_000_000
FOREVER_NS = 10**18


class Told(msgspec.Struct):
    right: int
    wrong: list[int]
    took_ns: int  # from the first arrival to the last result
    idle_ns: list[int]  # of each part: how long it waited although a lane was idle


class Arrivals:
    """An inbox, and the life of a stage, on the virtual clock."""

    def __init__(self, line: Line, instants: list[int]) -> None:
        self.line, self.instants = line, instants
        self.taken = 0

    @property
    def next_ns(self) -> int:
        return self.instants[self.taken] if self.taken < len(self.instants) else FOREVER_NS

    def poll(self, timeout_ms: int) -> bool:
        if timeout_ms:
            fake.advance_to(min(fake.now_ns() + timeout_ms * 10**6, self.next_ns))
        return self.next_ns <= fake.now_ns()

    def wait(self, timeout_s: float) -> None:
        fake.advance_to(min(fake.now_ns() + round(timeout_s * 1e9), self.next_ns))

    def take(self) -> Tensor:
        self.taken += 1
        message = self.line.enter()
        return msgspec.structs.replace(
            message, part=msgspec.structs.replace(message.part, deadline_ns=FOREVER_NS)
        )

    def beat(self) -> None:
        return

    @property
    def stopping(self) -> bool:
        return len(self.line.done) == len(self.instants)


class Timed:
    """Infer, and the instants at which parts were started and finished."""

    def __init__(self, infer: Infer) -> None:
        self.infer, self.lanes, self.batch, self.waits = infer, infer.lanes, infer.batch, infer.waits
        self.started_ns: dict[int, int] = {}
        self.finished_ns: dict[int, int] = {}

    def start(self, messages: list[Tensor]) -> list[Unknown]:
        self.started_ns |= {message.part.entry: fake.now_ns() for message in messages}
        return self.infer.start(messages)

    def ready(self, position: int, timeout_s: float = 0.0) -> bool:
        return self.infer.ready(position, timeout_s)

    def finish(self, position: int) -> list[Prediction | Unknown]:
        outcomes = self.infer.finish(position)
        self.finished_ns |= {outcome.part.entry: fake.now_ns() for outcome in outcomes}
        return outcomes

    def idle_ns(self, arrived_ns: list[int]) -> list[int]:
        """How long each part waited although it had arrived and fewer parts than lanes were in work."""
        free_ns = [0] * self.lanes  # when each lane became idle
        waited = []
        for entry, started_ns in sorted(self.started_ns.items(), key=lambda each: each[1]):
            lane = int(np.argmin(free_ns))
            waited.append(started_ns - max(free_ns[lane], arrived_ns[entry]))
            free_ns[lane] = self.finished_ns[entry]
        return waited


def main(folder: Path, lanes: int, parts: int, period_ns: int) -> Told:
    bundle, report, task = read_bundle(folder), Report(), Task(parts=parts, lanes=lanes)
    path = Path("/dev/shm") / f"linejudge-test-{uuid4().hex}"
    with ExitStack() as opened:
        opened.callback(path.unlink, missing_ok=True)
        engine = opened.enter_context(TensorRT(bundle, "fp32", lanes, 0))
        image = int(np.prod(bundle.manifest.input.shape))
        outputs = 4 * sum(int(np.prod(shape)) for shape in bundle.manifest.outputs.values())
        # One more than there are lanes: a part waits in the loop for the next lane.
        ring = Ring.create(path, slots=lanes + 1, frame=FRAME[0] * FRAME[1], tensors=[image], outputs=[outputs])
        infer = Infer(
            {"camera": Looks(ring=ring, judges=[engine_of(engine, 0, task, bundle.manifest)], frame=FRAME)}
        )
        line, step = Line(task, ring, infer, bundle.manifest, report), Timed(infer)
        for kernels in [_alone(infer, line) for _ in range(2 * lanes)]:  # the first runs of a lane do more
            fake.set_costs(copy_in=COPY_NS, kernel=COPY_NS / kernels)
        gaps = np.random.default_rng(0).exponential(period_ns, parts)
        begin_ns = fake.now_ns()
        arrived_ns = [begin_ns] * line.started + [begin_ns + round(at) for at in np.cumsum(gaps)]
        arrivals = Arrivals(line, arrived_ns)
        arrivals.taken = line.started
        edge.stages.loop.time = SimpleNamespace(monotonic_ns=fake.now_ns)

        def told(message: Message) -> None:
            assert isinstance(message, Prediction | Unknown)
            line.check(message)

        relay("infer", arrivals, arrivals, told, told, step, 0)  # type: ignore[arg-type]
        return Told(
            right=report.right,
            wrong=report.wrong,
            took_ns=max(step.finished_ns.values()) - begin_ns,
            idle_ns=step.idle_ns(arrived_ns),
        )


def _alone(infer: Infer, line: Line) -> int:
    """Judge a part, and return how many kernels its network runs."""
    before = fake.count("kernels")
    assert not infer.start([line.enter()])
    for outcome in infer.finish():
        line.check(outcome)
    return fake.count("kernels") - before


if __name__ == "__main__":
    folder, *numbers = sys.argv[1:]
    print(msgspec.json.encode(main(Path(folder), *map(int, numbers))).decode())
