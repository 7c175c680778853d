"""One lane of a GPU: its stream, buffers on both sides and event; one lane copies while another computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import EngineError
from ..image.warp import Warp
from .base import Outputs, Sample
from .cuda import ALIGNMENT, NON_BLOCKING, Pinned, driver_library, said


@dataclass(frozen=True, kw_only=True)
class Binding:
    """A network's input or output, for one sample."""

    shape: tuple[int, ...]  # its first side is 1
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape)) * self.dtype.itemsize

    @property
    def room(self) -> int:
        """Its bytes up to the next place where another may begin."""
        return -(-self.nbytes // ALIGNMENT) * ALIGNMENT


class Execution(Protocol):
    """A network that is ready to run for one lane; it keeps its own scratch memory."""

    def enqueue(self, count: int, addresses: Mapping[str, int], stream: Any) -> None:
        """Queue it for so many samples on a stream; each binding's samples lie one after another."""
        ...


@dataclass(frozen=True, eq=False)
class Features:
    """A master and its features in device memory, which is used again when they are let go."""

    master: int
    addresses: dict[str, int]
    nbytes: int


class Lane:
    """Host to device, network, device to host, queued on one stream; nothing waits until `collect`.

    A lane's buffers are its own, so while its network runs, the next lane's input is on its way.
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
        with said("making a lane"):
            self._stream = cuda.Stream(NON_BLOCKING)
            flags = cuda.event_flags
            self._done = cuda.Event(flags.BLOCKING_SYNC | flags.DISABLE_TIMING)
            self._memory = {"image": cuda.mem_alloc(batch * image.nbytes)}
            if batch > 1:  # of one sample the features are read where they are kept
                self._memory |= {name: cuda.mem_alloc(batch * put.nbytes) for name, put in features.items()}
        self._staged, _ = pinned.empty((batch, *image.shape[1:]), image.dtype)
        self._answers: dict[str, NDArray[Any]] = {}
        self._answered_at: dict[str, int] = {}  # where the network writes
        for name, output in outputs.items():
            self._answers[name], mapped = pinned.empty((batch, *output.shape[1:]), output.dtype)
            if mapped is None:
                with said("making a lane"):
                    self._memory[name] = cuda.mem_alloc(batch * output.nbytes)
            self._answered_at[name] = int(self._memory[name]) if mapped is None else mapped

    @property
    def busy(self) -> bool:
        return bool(self._samples)

    def submit(self, samples: Sequence[Sample]) -> None:
        """Queue all that is to be done for these samples."""
        self._samples = tuple(samples)  # holds images and features until they have been read
        try:
            self._queue(len(samples))
        except EngineError:
            try:
                with said("queueing a part"):  # whatever failed first, a lost device shows here
                    self._stream.synchronize()
            finally:
                self._samples = ()
            raise

    def _queue(self, count: int) -> None:
        with said("queueing a part"):
            addresses = self._answered_at | {"image": self._bring_images()}
            addresses |= {name: self._bring_feature(name) for name in self._features}
            self._execution.enqueue(count, addresses, self._stream)
            for name, memory in self._memory.items():
                if name in self._answers:
                    self._cuda.memcpy_dtoh_async(self._answers[name][:count], memory, self._stream)
            self._done.record(self._stream)

    def _bring_images(self) -> int:
        """The device's address of the images, which are copied there unless it sees them where they are."""
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
        """Copy a frame to the device, unless it sees it in place, and warp it into the model's input there."""
        frame = np.ascontiguousarray(sample.image)
        seen = self._pinned.address(frame)
        if seen is None:
            room = -(-frame.nbytes // ALIGNMENT) * ALIGNMENT
            if self._frames_nbytes < room * self._batch:  # once, with the first frame
                self._memory["frames"] = self._cuda.mem_alloc(room * self._batch)
                self._frames_nbytes = room * self._batch
            seen = int(self._memory["frames"]) + number * room
            self._cuda.memcpy_htod_async(seen, frame, self._stream)
        under = sample.reference.master if isinstance(sample.reference, Features) else 0
        places = map(np.uintp, (seen, under, at))
        self._warp(*places, *warp.arguments(), grid=warp.grid[:2], block=warp.block, stream=self._stream)

    def _bring_feature(self, name: str) -> int:
        """The device's address of the masters' features, in a row; one sample's are read where they are."""
        kept = [sample.reference for sample in self._samples]
        places = [reference.addresses[name] for reference in kept if isinstance(reference, Features)]
        if len(places) == 1:
            return places[0]
        start, nbytes = int(self._memory[name]), self._features[name].nbytes
        for number, place in enumerate(places):
            self._cuda.memcpy_dtod_async(start + number * nbytes, place, nbytes, self._stream)
        return start

    def collect(self) -> list[Outputs]:
        """Wait for this lane's own event; outputs are read in its pinned memory."""
        count = len(self._samples)
        try:
            with said("judging a part"):
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
