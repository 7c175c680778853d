"""Runs a network on one lane of a GPU. A lane is a queue of tasks (a CUDA stream) with memory of its own."""

from __future__ import annotations

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
            # With a batch of one, the features are read where they are kept.
            if batch > 1:
                self._memory |= {name: cuda.mem_alloc(batch * put.nbytes) for name, put in features.items()}
        self._staged, _ = pinned.empty((batch, *image.shape[1:]), image.dtype)
        self._answers = Answers(pinned, {name: put.shape for name, put in outputs.items()}, batch)

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
            addresses = self._answers.addresses(count) | {"image": self._bring_images()}
            addresses |= {name: self._bring_feature(name) for name in self._features}
            self._run(count, addresses)
            self._answers.bring(count, self._samples[0].slot, self._stream)
            self._done.record(self._stream)

    def _run(self, count: int, addresses: Mapping[str, int]) -> None:
        """Queue one run of the network. Benchmarks time it by taking its place."""
        self._execution.enqueue(count, addresses, self._stream)

    def _bring_images(self) -> int:
        """Return the GPU's address of the images. If they must be copied to the GPU first, queue the copies."""
        if len(self._samples) == 1 and self._samples[0].warp is None:
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

    def _bring_feature(self, name: str) -> int:
        """Return the GPU's address of all samples' feature `name`, copied together if there are several."""
        kept = [sample.reference for sample in self._samples]
        places = [reference.addresses[name] for reference in kept if isinstance(reference, Features)]
        if len(places) == 1:
            return places[0]
        start, nbytes = int(self._memory[name]), self._features[name].nbytes
        for number, place in enumerate(places):
            self._cuda.memcpy_dtod_async(start + number * nbytes, place, nbytes, self._stream)
        return start

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
