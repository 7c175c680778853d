"""Runs a network on one lane of a GPU. A lane is a queue of tasks (a CUDA stream) with memory of its own."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import EngineError
from ..image.warp import Warp
from .answers import Answers
from .base import Outputs, Sample
from .cuda import ALIGNMENT, NON_BLOCKING, Pinned, driver_errors, driver_library
from .graph import Graph, record
from .warping import Warping


@dataclass(frozen=True, kw_only=True)
class Binding:
    """The shape and dtype that one input or output of a network has for one sample."""

    shape: tuple[int, ...]  # the first dimension is 1
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape)) * self.dtype.itemsize

    @property
    def room(self) -> int:
        """The bytes of one sample, rounded up to a multiple of ALIGNMENT."""
        return -(-self.nbytes // ALIGNMENT) * ALIGNMENT


def laid_out(bindings: Mapping[str, Binding], batch: int) -> tuple[dict[str, int], int]:
    """Return the place, from 0 on, of each array of `batch` samples in one piece of memory, and its bytes."""
    offsets, end = {}, 0
    for name, put in bindings.items():
        offsets[name] = end
        end += -(-batch * put.nbytes // ALIGNMENT) * ALIGNMENT
    return offsets, end


class Execution(Protocol):
    """A network that is ready to run on one lane, with its own scratch memory."""

    def enqueue(self, count: int, addresses: Mapping[str, int], stream: Any) -> None:
        """Queue one run of the network for `count` samples. Their inputs and outputs lie at `addresses`."""
        ...


@dataclass(frozen=True, eq=False)
class Features:
    """A master, as model input and features, in GPU memory. The memory is reused when this object is gone."""

    master: int  # device address
    addresses: dict[str, int]  # device address of each feature
    nbytes: int


class Lane:
    """Copies samples to the GPU, runs the network on them and copies the outputs back. Only `collect` waits.

    Each lane has its own memory, so the next lane's input can be copied while this lane's network runs.
    """

    def __init__(
        self,
        execution: Execution,
        pinned: Pinned,
        *,
        image: Binding,
        features: Mapping[str, Binding],
        outputs: Mapping[str, Binding],
        batch: int,
        warp: Warping | None,
    ) -> None:
        """Create the lane. `warp` warps frames on the GPU; None if the GPU has no function for it."""
        self._cuda = cuda = driver_library()
        self._warp, self._batch = warp, batch
        self._execution, self._pinned = execution, pinned
        self._image, self._features = image, features
        self._samples: tuple[Sample, ...] = ()
        # By its place in memory, each mask of a warp, which must stay there, and its copy on the GPU.
        self._ignored: dict[tuple[int, ...], tuple[NDArray[np.bool_], NDArray[np.bool_], Any]] = {}
        with driver_errors("creating a lane"):
            self._stream = cuda.Stream(NON_BLOCKING)
            flags = cuda.event_flags
            self._done = cuda.Event(flags.BLOCKING_SYNC | flags.DISABLE_TIMING)
            self._memory = {"image": cuda.mem_alloc(batch * image.nbytes)}
            offsets, nbytes = laid_out(features, batch)
            if features:
                self._memory["features"] = cuda.mem_alloc(nbytes)
        self._staged, _ = pinned.empty((batch, *image.shape[1:]), image.dtype)
        self._answers = Answers(pinned, {name: put.shape for name, put in outputs.items()}, batch)
        self._features_at = {name: int(self._memory["features"]) + offset for name, offset in offsets.items()}
        self._features_nbytes = nbytes
        # Of each sample of a batch, the master whose features lie where the network reads them.
        self._brought: list[weakref.ref[Features] | None] = [None] * batch
        # By the number of samples, the network's run on this lane's memory.
        self._graphs: dict[int, Graph] = {}

    def warm(self) -> str:
        """Run the network with each number of samples, so that no part waits for what CUDA loads at first.

        Record each run as a graph. Return why a run could not be recorded, or an empty text; its kernels are
        then launched one by one.
        """
        why = ""
        with driver_errors("running the network before parts come"):
            for count in range(1, self._batch + 1):
                plain = self._answer(count, 0)
                why = why or self._record(count, plain)
        return why

    def _record(self, count: int, plain: list[bytes]) -> str:
        """Record a run with `count` samples. Return why it failed, if it did: its outputs must be `plain`."""
        addresses = self._addresses(count, int(self._memory["image"]))
        graph = record(self._stream, lambda: self._execution.enqueue(count, addresses, self._stream))
        if graph is None:
            return "CUDA cannot record the network as a graph"
        self._answer(count, 1)  # replaces the outputs, so that the graph has to write them
        self._graphs[count] = graph
        if self._answer(count, 0) == plain:
            return ""
        del self._graphs[count]
        return "as a graph the network gives other outputs"

    def _answer(self, count: int, first: int) -> list[bytes]:
        """Run the network on a pattern that begins with the level `first`. Return the bytes of its outputs."""
        levels = np.roll(np.arange(251), -first)
        self._staged[:] = np.resize(levels, self._staged.shape)
        self._cuda.memcpy_htod_async(self._memory["image"], self._staged, self._stream)
        for name, put in self._features.items():
            pattern = np.resize(levels / 251, (self._batch, *put.shape[1:])).astype(put.dtype)
            self._cuda.memcpy_htod_async(self._features_at[name], pattern, self._stream)
        self._run(count, self._addresses(count, int(self._memory["image"])))
        self._answers.bring(count, None, self._stream)
        self._stream.synchronize()
        return [output.tobytes() for outputs in self._answers.read() for output in outputs.values()]

    @property
    def busy(self) -> bool:
        """Whether samples were submitted whose outputs have not been collected yet."""
        return bool(self._samples)

    def submit(self, samples: Sequence[Sample]) -> None:
        """Queue all copies and the network for these samples, and return without waiting."""
        # Keeps images and features alive until the device has read them.
        self._samples = tuple(samples)
        try:
            self._queue(len(samples))
        except EngineError:
            try:
                # Raises EngineLost if the device is lost, whatever error came first.
                with driver_errors("queueing a part"):
                    self._stream.synchronize()
            finally:
                self._samples = ()
            raise

    def _queue(self, count: int) -> None:
        with driver_errors("queueing a part"):
            image = self._bring_images()
            self._bring_features()
            self._run(count, self._addresses(count, image))
            self._answers.bring(count, self._samples[0].slot, self._stream)
            self._done.record(self._stream)

    def _run(self, count: int, addresses: Mapping[str, int]) -> None:
        """Queue a run of the network, by its graph if there is one. Benchmarks time it by taking its place."""
        if count in self._graphs:
            self._graphs[count].launch(self._stream)
        else:
            self._execution.enqueue(count, addresses, self._stream)

    def _addresses(self, count: int, image: int) -> dict[str, int]:
        """Return where the network reads and writes on the GPU if the images lie at the address `image`."""
        return {"image": image, **self._features_at, **self._answers.addresses(count)}

    def _bring_images(self) -> int:
        """Return the GPU's address of the images. If they must be copied to the GPU first, queue the copies.

        A graph reads the lane's memory. Without one, a GPU that can reads a single image in the CPU's memory.
        """
        if len(self._samples) == 1 and self._samples[0].warp is None and 1 not in self._graphs:
            mapped = self._pinned.address(self._samples[0].image)
            if mapped is not None:
                return mapped
        start = int(self._memory["image"])
        for number, sample in enumerate(self._samples):
            at = start + number * self._image.nbytes
            if sample.warp is not None:
                self._warp_frame(sample, at)
                continue
            image = sample.image
            if not self._pinned.holds(image):
                np.copyto(self._staged[number], image[0])
                image = self._staged[number]
            self._cuda.memcpy_htod_async(at, image, self._stream)
        return start

    def _warp_frame(self, sample: Sample, at: int) -> None:
        """Queue the warp of a sample's frame into the model's input, at the GPU's address `at`."""
        assert self._warp is not None
        assert sample.warp is not None
        assert sample.region is not None
        under = sample.reference.master if isinstance(sample.reference, Features) else 0
        ignored = self._bring_ignored(sample.warp)
        self._warp.queue(sample.image, sample.warp, sample.region, under, ignored, at, self._stream)

    def _bring_ignored(self, warp: Warp) -> int:
        """Return the GPU's address of a warp's mask, or 0 if it has none. A judge's mask is copied once."""
        mask = warp.ignored
        if mask is None:
            return 0
        place = (mask.ctypes.data, *mask.shape)
        if place not in self._ignored:
            memory, pixels = self._cuda.mem_alloc(mask.nbytes), np.ascontiguousarray(mask)
            self._cuda.memcpy_htod_async(memory, pixels, self._stream)
            self._ignored[place] = (mask, pixels, memory)
        return int(self._ignored[place][2])

    def _bring_features(self) -> None:
        """Queue copies of the features to where the network reads them, unless they lie there already."""
        for number, sample in enumerate(self._samples):
            kept, brought = sample.reference, self._brought[number]
            if not isinstance(kept, Features) or (brought and brought() is kept):
                continue
            self._brought[number] = None
            for to, start, nbytes in self._places(number, kept):
                self._cuda.memcpy_dtod_async(to, start, nbytes, self._stream)
            self._brought[number] = weakref.ref(kept)

    def _places(self, number: int, kept: Features) -> list[tuple[int, int, int]]:
        """Return where to copy the features of sample `number`, where they are kept, and how many bytes."""
        if self._batch == 1:  # both are laid out alike, so one copy brings all
            first = next(iter(self._features))
            return [(self._features_at[first], kept.addresses[first], self._features_nbytes)]
        return [
            (self._features_at[name] + number * put.nbytes, kept.addresses[name], put.nbytes)
            for name, put in self._features.items()
        ]

    def ready(self) -> bool:
        """Return whether `collect` would return or raise its error without waiting. Only for a busy lane."""
        try:
            return bool(self._done.query())
        except self._cuda.Error:
            return True  # `collect` raises it

    def collect(self) -> list[Outputs]:
        """Wait for the lane. Return each sample's outputs as float32 arrays, valid until the next `submit`."""
        try:
            with driver_errors("judging a part"):
                self._done.synchronize()
        finally:
            self._samples = ()
        return self._answers.read()
