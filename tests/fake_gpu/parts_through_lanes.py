"""Parts from a ring in shared memory through the lanes of an engine, each held against what it should be told.

    python parts_through_lanes.py <folder with a bundle> '<a Task in JSON>'

prints a Report in JSON. Slots are used again as soon as their part is done, and there are no more of them than
parts in flight, so that a part's picture is overwritten as early as it may be.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Literal
from uuid import uuid4

import msgspec
import numpy as np
from fake_gpu import fake
from fake_gpu.plans import POISON, answer, features_of
from numpy.typing import NDArray
from parts import part_of

from edge.bundle import read_bundle
from edge.engines.trt import TensorRT
from edge.errors import EngineError
from edge.image.warp import Warp, Warper
from edge.manifest import Manifest
from edge.memory.ring import Ring, as_image, as_outputs, outputs_nbytes
from edge.messages import Input, Part, Prediction, Tensor, Unknown
from edge.stages.infer import Infer
from edge.stages.judge_engine import JudgeEngine, Looks
from edge.stages.references import References

FRAME = (240, 210)
#: Of the frame, for the first judge; each further one looks APART pixels further right. Whole pixels are
#: copied, so results can be told exactly.
CROP, APART = (70, 80, 64, 64), 5
MARGIN = 64  # around the crop, in which a part may lie
INPUT = Input(to_frame=(1, 0, 0, 0, 1, 0), registration_px=0.0)
COUNTED = (
    "context_synchronisations",
    "synchronous_copies",
    "pageable_to_device_bytes",
    "registered_to_device_bytes",
    "device_to_registered_bytes",
    "host_bytes_read_by_kernels",
    "device_to_pageable_bytes",
    "host_to_device_bytes",
    "default_stream_work",
    "frees_while_busy",
    "allocations",
    "host_allocations",
    "first_launches",
    "launches",
    "graph_launches",
)


class Task(msgspec.Struct):
    parts: int
    lanes: int
    judges: int = 1  # engines that each look at every part
    frames: bool = False  # the ring holds frames that the engine is to warp, not inputs
    bayer: Literal["rggb", "grbg", "gbrg", "bggr"] | None = None  # of the frames; None: they are grey
    tiles: tuple[int, int] = (1, 1)  # columns and rows of a part's samples; more than one without masters only
    views: int = 3
    masters_kept: int = 3  # views whose features the cache has room for
    warms: bool = False  # infer warms up first, with one view's master
    asks: bool = False  # the batch that is ready first is finished first, not the oldest
    lose_after: int | None = None  # operations of the device
    stop_after: int | None = None  # parts; those in flight are left there
    overtaken: bool = False  # there is one slot, and each part in work loses it to the next one


class Report(msgspec.Struct):
    right: int = 0
    not_numbers: int = 0  # parts that were rightly told NaN
    wrong: list[int] = []  # parts that were told another's result, or nobody's
    unknown: dict[int, str] = {}  # parts that were told why they cannot be judged
    in_flight: int = 0  # parts that were told nothing
    read_bytes: int = 0  # of the parts' frames, by their judges, each once
    error: str = ""
    grown: dict[str, int] = {}  # how far each counter went from the first part to the last
    calls: dict[str, int] = {}  # of the driver in that time, by function
    spun: int = 0  # waits that took a core, also before the first part
    live: dict[str, int] = {}  # what was not given back when the engine was left


def picture(seed: int, manifest: Manifest) -> NDArray[np.uint8]:
    """Noise that no other seed gives; one in 50 makes the fake network answer NaN."""
    image = np.random.default_rng(seed).integers(0, POISON, manifest.input.shape, np.uint8)
    if seed % 50 == 49:
        image.flat[0] = POISON
    return image


def frame(seed: int) -> NDArray[np.uint8]:
    """Noise, as a camera would have taken it."""
    return np.random.default_rng(seed).integers(0, POISON, FRAME, np.uint8)


def master(view: str, manifest: Manifest) -> NDArray[np.uint8]:
    return picture(10**6 + 50 * int(view), manifest)


class Line:
    """A ring, an engine's lanes, and what is expected of them."""

    def __init__(self, task: Task, ring: Ring, infer: Infer, manifest: Manifest, report: Report) -> None:
        self.task, self.ring, self.infer, self.manifest, self.report = task, ring, infer, manifest, report
        self.features = cache(lambda view: features_of(manifest, master(view, manifest)))
        self.warpers = [warper_of(manifest, judge, task) for judge in range(task.judges)]
        self.warps: dict[int, list[Warp]] = {}
        self.started, self.busy = 0, 0  # parts and lanes
        self.done: set[int] = set()
        self.first_open = 0
        self.dice = np.random.default_rng(0)

    @property
    def published(self) -> int:
        """So many parts from the first on are done; a later one's slot is not free before theirs."""
        while self.first_open in self.done:
            self.first_open += 1
        return self.first_open

    def run(self) -> None:
        """Batches of any size, on every lane as soon as it is idle."""
        while len(self.done) < self.task.parts:
            while self.busy < self.infer.lanes and (count := self.next_count()):
                refused = self.infer.start([self.enter() for _ in range(count)])
                for unknown in refused:
                    self.check(unknown)
                self.busy += len(refused) < count
            if self.task.stop_after is not None and len(self.done) >= self.task.stop_after:
                return
            if self.busy:
                for outcome in self.infer.finish(self.first_ready() if self.task.asks else 0):
                    self.check(outcome)
                self.busy -= 1

    def first_ready(self) -> int:
        """Ask until a batch is ready, the one that was started last before the others. Return its position."""
        while True:
            for position in reversed(range(self.busy)):
                if self.infer.ready(position):
                    return position

    def overtake(self) -> None:
        """Pairs of parts in one slot: the first gets its verdict too late, so the slot is leased to the second.

        The second is done before the first, and its outputs are read when both are done.
        """
        while len(self.done) < self.task.parts:
            for _ in range(2):
                tensor = self.enter()
                assert not self.infer.start([tensor])
                self.done.add(tensor.part.entry)
            outcomes = [*self.infer.finish(1), *self.infer.finish()]
            for outcome in outcomes:
                self.check(outcome)

    def next_count(self) -> int:
        """Of how many parts the next batch is: any number that the lane, the slots and the parts allow."""
        left = self.task.parts - self.started
        return min(int(self.dice.integers(1, self.infer.batch + 1)), left, self.ring.free(self.published))

    def enter(self) -> Tensor:
        entry, view = self.started, str(self.dice.integers(self.task.views))
        slot, generation = self.ring.lease(entry, published=self.published)
        part = part_of(entry, slot=slot, generation=generation, view=view)
        self.started += 1
        if not self.task.frames:
            for judge in range(self.task.judges):
                with self.ring.area(part, "tensor", judge) as area:
                    as_image(area, self.manifest.input.shape)[:] = self.input(part, judge)
            return Tensor(part=part, inputs=(INPUT,) * self.task.judges, done_ns={})
        with self.ring.area(part, "frame") as area:
            as_image(area, FRAME)[:] = frame(entry)
        right, down = self.dice.integers(-80, 81, 2)  # some of it beyond what is read of the frame
        pose = np.array([[1.0, 0, right], [0, 1, down]])
        warps = self.warps[entry] = [warper.warp(FRAME, pose) for warper in self.warpers]
        self.report.read_bytes += self.read_pixels(int(right), int(down))
        left = [Input(to_frame=warp.to_frame, registration_px=0.0, in_slot=False) for warp in warps]
        return Tensor(part=part, inputs=tuple(left), done_ns={})

    def read_pixels(self, right: int, down: int) -> int:
        """Return the pixels of the frame in which all judges' crops lie, for a part that lies this far off."""
        spec, sides = self.manifest.picture, []
        for start, length, moved, side in (
            (CROP[0], spec.width, right, FRAME[1]),
            (CROP[1], spec.height, down, FRAME[0]),
        ):
            ends: list[int] = []
            for judge in range(self.task.judges):
                first = start + (APART * judge if side == FRAME[1] else 0)
                low, high = max(0, first - MARGIN), min(side, first + length + MARGIN) - 1
                ends += (min(max(end + moved, low), high) for end in (first, first + length - 1))
            if self.task.bayer:  # and the pixels around
                ends += [min(max(end, 1), side - 2) + aside for end in ends for aside in (-1, 1)]
            sides.append(max(ends) - min(ends) + 1)
        return sides[0] * sides[1]

    def input(self, part: Part, judge: int) -> NDArray[np.uint8]:
        """What a judge's network is to see of a part."""
        if not self.task.frames:
            return picture(part.entry + 50_000 * judge, self.manifest)
        out = np.empty(self.warpers[judge].shape, np.uint8)
        under = master(part.view, self.manifest) if self.manifest.features else None
        self.warps[part.entry][judge].apply(frame(part.entry), out, under)
        return out

    def check(self, outcome: Prediction | Unknown) -> None:
        """Note what a part was told."""
        entry = outcome.part.entry
        self.done.add(entry)
        if isinstance(outcome, Unknown):
            self.report.unknown[entry] = outcome.detail
        elif all(self.is_right(outcome.part, judge) for judge in range(self.task.judges)):
            self.report.right += 1
        else:
            self.report.wrong.append(entry)

    def is_right(self, part: Part, judge: int) -> bool:
        outputs = self.manifest.answers
        expected = self.manifest.grid.join(
            [
                answer({"image": tile, **self.features(part.view)}, self.manifest.outputs)
                for tile in self.manifest.grid.cut(self.input(part, judge))
            ],
            self.manifest.stride,
        )
        with self.ring.area(part, "outputs", judge) as area:
            found = as_outputs(area, outputs)
            right = all(np.array_equal(found[name], expected[name], equal_nan=True) for name in outputs)
            self.report.not_numbers += right and all(np.isnan(found[name]).all() for name in outputs)
        return right


def warper_of(manifest: Manifest, judge: int, task: Task) -> Warper:
    """A judge's warper, which paints a fifth of the pixels flat."""
    spec, (x, y, *_) = manifest.picture, CROP
    ignored = np.random.default_rng([9, judge]).random(spec.shape[2:]) < 0.2
    return Warper((x + APART * judge, y, spec.width, spec.height), spec, task.bayer, ignored)


def engine_of(engine: TensorRT, judge: int, task: Task, manifest: Manifest) -> JudgeEngine:
    """A judge's engine, with its masters if it compares with any."""
    warper = warper_of(manifest, judge, task)
    if not manifest.features:
        grid = manifest.grid if manifest.grid.count > 1 else None
        return JudgeEngine(engine=engine, warper=warper, grid=grid, stride=manifest.stride)
    limit_bytes = task.masters_kept * engine.reference(master("0", manifest)).nbytes
    references = References(engine, lambda view: master(view, manifest), limit_bytes)
    return JudgeEngine(engine=engine, warper=warper, references=references)


def ring_of(path: Path, task: Task, batch: int, manifest: Manifest) -> Ring:
    """No more slots than parts can be in flight."""
    image = int(np.prod(manifest.picture.shape))
    outputs = outputs_nbytes(manifest.answers)
    areas = {"tensors": [image] * task.judges, "outputs": [outputs] * task.judges}
    slots = 1 if task.overtaken else task.lanes * batch
    return Ring.create(path, slots=slots, frame=FRAME[0] * FRAME[1], **areas)


def main(folder: Path, task: Task) -> Report:
    bundle, report = read_bundle(folder), Report()
    manifest = msgspec.structs.replace(bundle.manifest, tiles=task.tiles)
    path = Path("/dev/shm") / f"linejudge-test-{uuid4().hex}"
    try:
        with ExitStack() as opened:
            opened.callback(path.unlink, missing_ok=True)
            engines = [TensorRT(bundle, "fp32", task.lanes, 0) for _ in range(task.judges)]
            judges = [
                engine_of(opened.enter_context(engine), judge, task, manifest)
                for judge, engine in enumerate(engines)
            ]
            ring = ring_of(path, task, engines[0].batch // manifest.grid.count, manifest)
            line = Line(
                task, ring, Infer({"camera": Looks(ring=ring, judges=judges, frame=FRAME)}), manifest, report
            )
            if task.warms:
                for judge in judges:
                    if judge.references:
                        judge.references.warm(["0"])
                line.infer.warm()
            before, called = {name: fake.count(name) for name in COUNTED}, Counter(fake.calls())
            if task.lose_after is not None:
                fake.lose_device(task.lose_after)
            try:
                line.overtake() if task.overtaken else line.run()
            finally:
                report.in_flight = line.started - len(line.done)
                report.grown = {name: fake.count(name) - before[name] for name in COUNTED}
                report.calls = dict(Counter(fake.calls()) - called)
    except EngineError as error:
        report.error = f"{type(error).__name__}: {error}"
    report.spun = fake.count("spinning_waits")
    report.live = fake.live()
    return report


def cli(arguments: Sequence[str]) -> None:
    report = main(Path(arguments[0]), msgspec.json.decode(arguments[1], type=Task))
    print(msgspec.json.encode(report).decode())


if __name__ == "__main__":
    cli(sys.argv[1:])
