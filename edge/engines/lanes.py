"""Runs batches on one lane of a GPU: a stream, its buffers and an event. Lanes copy while others compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import EngineError
from ..image.warp import Warp
from .base import Outputs, Sample
from .cuda import ALIGNMENT, NON_BLOCKING, Pinned, driver_errors, driver_library


@dataclass(frozen=True, kw_only=True)
class Binding:
    """Shape and type of a network's input or output, for one sample."""

    shape: tuple[int, ...]  # the first dimension is 1
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape)) * self.dtype.itemsize

    @property
    def room(self) -> int:
        """Bytes of one sample, rounded up to ALIGNMENT."""
        return -(-self.nbytes // ALIGNMENT) * ALIGNMENT


class Execution(Protocol):
    """A network that is ready to run on one lane, with its own scratch memory."""

    def enqueue(self, count: int, addresses: Mapping[str, int], stream: Any) -> None:
        """Queue the network for `count` samples on a stream; the samples of a binding are contiguous."""
        ...


@dataclass(frozen=True, eq=False)
class Features:
    """A master's input and features in device memory, which is reused once this object is gone."""

    master: int  # device address
    addresses: dict[str, int]  # device address of each feature
    nbytes: int


class Lane:
    """Queues copies to the device, the network and copies back on one stream; only `collect` waits.

    Each lane has its own buffers, so the next lane's input is copied while this lane's network runs.
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
        warp: Any,
    ) -> None:
        """`warp` is the kernel that warps frames into the model's input; None: samples have no warp."""
        self._cuda = cuda = driver_library()
        self._warp, self._batch = warp, batch
        self._execution, self._pinned = execution, pinned
        self._image, self._features, self._outputs = image, features, outputs
        self._samples: tuple[Sample, ...] = ()
        self._frames_nbytes = 0
        with driver_errors("creating a lane"):
            self._stream = cuda.Stream(NON_BLOCKING)
            flags = cuda.event_flags
            self._done = cuda.Event(flags.BLOCKING_SYNC | flags.DISABLE_TIMING)
            self._memory = {"image": cuda.mem_alloc(batch * image.nbytes)}
            # With a batch of one, the features are read where they are kept.
            if batch > 1:
                self._memory |= {name: cuda.mem_alloc(batch * put.nbytes) for name, put in features.items()}
        self._staged, _ = pinned.empty((batch, *image.shape[1:]), image.dtype)
        self._answers: dict[str, NDArray[Any]] = {}
        # Device addresses at which the network writes.
        self._answered_at: dict[str, int] = {}
        for name, output in outputs.items():
            self._answers[name], mapped = pinned.empty((batch, *output.shape[1:]), output.dtype)
            if mapped is None:
                with driver_errors("creating a lane"):
                    self._memory[name] = cuda.mem_alloc(batch * output.nbytes)
            self._answered_at[name] = int(self._memory[name]) if mapped is None else mapped

    @property
    def busy(self) -> bool:
        """Whether samples were submitted and not collected yet."""
        return bool(self._samples)

    def submit(self, samples: Sequence[Sample]) -> None:
        """Queue everything for these samples; return at once."""
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
            addresses = self._answered_at | {"image": self._bring_images()}
            addresses |= {name: self._bring_feature(name) for name in self._features}
            self._execution.enqueue(count, addresses, self._stream)
            for name, memory in self._memory.items():
                if name in self._answers:
                    self._cuda.memcpy_dtoh_async(self._answers[name][:count], memory, self._stream)
            self._done.record(self._stream)

    def _bring_images(self) -> int:
        """Return the images' device address; they are copied there unless the device reads them in place."""
        if len(self._samples) == 1 and self._samples[0].warp is None:
            mapped = self._pinned.address(self._samples[0].image)
            if mapped is not None:
                return mapped
        start = int(self._memory["image"])
        for number, sample in enumerate(self._samples):
            at = start + number * self._image.nbytes
            if sample.warp is not None:
                self._warp_frame(number, sample, sample.warp, at)
                continue
            image = sample.image
            if not self._pinned.holds(image):
                np.copyto(self._staged[number], image[0])
                image = self._staged[number]
            self._cuda.memcpy_htod_async(at, image, self._stream)
        return start

    def _warp_frame(self, number: int, sample: Sample, warp: Warp, at: int) -> None:
        """Warp a frame into the model's input at the device address `at`.

        The frame is copied to the device unless the device reads it in place.
        """
        frame = np.ascontiguousarray(sample.image)
        seen = self._pinned.address(frame)
        if seen is None:
            room = -(-frame.nbytes // ALIGNMENT) * ALIGNMENT
            # Happens once, with the first frame.
            if self._frames_nbytes < room * self._batch:
                self._memory["frames"] = self._cuda.mem_alloc(room * self._batch)
                self._frames_nbytes = room * self._batch
            seen = int(self._memory["frames"]) + number * room
            self._cuda.memcpy_htod_async(seen, frame, self._stream)
        under = sample.reference.master if isinstance(sample.reference, Features) else 0
        places = map(np.uintp, (seen, under, at))
        self._warp(*places, *warp.arguments(), grid=warp.grid[:2], block=warp.block, stream=self._stream)

    def _bring_feature(self, name: str) -> int:
        """Return the device address of a feature for all samples, contiguous; a single one is not copied."""
        kept = [sample.reference for sample in self._samples]
        places = [reference.addresses[name] for reference in kept if isinstance(reference, Features)]
        if len(places) == 1:
            return places[0]
        start, nbytes = int(self._memory[name]), self._features[name].nbytes
        for number, place in enumerate(places):
            self._cuda.memcpy_dtod_async(start + number * nbytes, place, nbytes, self._stream)
        return start

    def collect(self) -> list[Outputs]:
        """Wait for this lane's event; return each sample's outputs, float32, in the lane's pinned memory."""
        count = len(self._samples)
        try:
            with driver_errors("judging a part"):
                self._done.synchronize()
        finally:
            self._samples = ()
        return [
            {
                name: answers[number : number + 1].reshape(self._outputs[name].shape)
                for name, answers in self._answers.items()
            }
            for number in range(count)
        ]
