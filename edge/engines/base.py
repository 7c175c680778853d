"""Defines what every engine offers: it loads a model and computes its outputs for the pictures of parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import EngineError
from ..image.warp import Box, Warp
from ..manifest import ModelManifest, Precision
from ..tiles import MOST_TILES

Image = NDArray[np.uint8]
Outputs = dict[str, NDArray[np.float32]]


class Reference(Protocol):
    """What an engine keeps of a master, the picture of a good part. Other modules know only its size."""

    @property
    def nbytes(self) -> int: ...


class Region:
    """The pixels of a part's frame that the part's warps read. They are copied to a GPU once for all warps."""

    def __init__(self, *warps: Warp) -> None:
        """Without `warps`, it is empty. Each engine that reads the frame must be made known by `add`."""
        self.box = self.reach = (0, 0, 0, 0)  # left, top, right, bottom in the frame; `reach`: for any part
        self.readers = 0  # engines
        self.copy: Any = None  # the first reader's copy in the GPU's memory
        for warp in warps:
            self.add(warp)

    def add(self, warp: Warp) -> None:
        """Extend the region by the pixels that the warp of one more engine reads."""
        self.box = _union(self.box, warp.reads) if self.readers else warp.reads
        self.reach = _union(self.reach, warp.reach) if self.readers else warp.reach
        self.readers += 1


def _union(one: Box, other: Box) -> Box:
    """Return the smallest box that holds both."""
    return min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])


@dataclass(frozen=True, eq=False)
class Sample:
    """One part for an engine: its picture and, if the model compares it with a master, that master's reference.

    If `warp` is None, `image` is the model's input as `(1, C, H, W)` uint8. Otherwise `image` is the camera's
    frame as `(H, W)` or `(H, W, 3)` uint8, and the engine warps the frame into the model's input. `region` then
    holds what this warp and all others of the part read; samples of a part share it.

    `slot` is the area of the part's slot that takes these outputs as they are, `(bytes,)` uint8, laid out by
    `as_outputs`; None if there is none. An engine may write there, and then returns arrays that lie in it.
    """

    image: Image
    reference: Reference | None = None
    warp: Warp | None = None
    region: Region | None = None
    slot: NDArray[np.uint8] | None = None


class Engine(Protocol):
    """Runs one model. The model is loaded when `with` is entered, and released when `with` is left.

    Parts are computed on lanes, numbered from 0, that work side by side. Each lane takes one request at a time,
    with one part or several. Results may be collected from the lanes in any order.
    """

    name: str
    precision: Precision
    lanes: int
    batch: int  # how many waiting parts it is worth to gather for a lane; known once the model is loaded
    most_samples: int  # how many samples a lane takes at once; known once the model is loaded
    warps_frames: bool  # whether it takes samples with a warp; known once the model is loaded
    waits: bool  # whether `ready` can wait; else it answers at once
    starts_cold: bool  # whether its first requests take longer than later ones

    def __enter__(self) -> Engine: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def pin(self, memory: Image) -> None:
        """Let the GPU read images directly from `memory`, which must be page-aligned."""
        ...

    def reference(self, master: Image) -> Reference:
        """Return what the engine keeps of a master, given as a model input, `(1, C, H, W)` uint8."""
        ...

    def submit(self, lane: int, samples: Sequence[Sample]) -> None:
        """Start to compute up to `most_samples` on a lane. Images must not change until `collect` returns.

        Raise EngineError if the samples do not fit the model, the lane is busy or the engine fails.
        """
        ...

    def ready(self, lane: int, timeout_s: float = 0.0) -> bool:
        """Return whether `collect` would return or raise its error without waiting.

        If the engine `waits`, wait for this for about `timeout_s`. Raise EngineError if the lane is idle.
        """
        ...

    def collect(self, lane: int) -> list[Outputs]:
        """Wait for the lane. Return the model's outputs for each sample, as a dict from name to float32 array.

        The arrays are valid until the next `submit` to this lane; those in a slot, until it is leased anew.
        Raise EngineError if the computation failed or gave outputs of other shapes. Raise EngineLost if the
        device is lost, so that only a new process can go on.
        """
        ...


class OnCpu:
    """What all engines on the CPU share: they compute samples one by one, and take no frames to warp."""

    batch = 1
    most_samples = MOST_TILES
    warps_frames = False
    waits = starts_cold = True

    def pin(self, memory: Image) -> None:
        return


def ask(engine: Engine, image: Image, reference: Reference | None = None) -> Outputs:
    """Return the model's outputs for `image`, a model input as `(1, C, H, W)` uint8, computed on lane 0.

    The arrays are valid until the next `submit` to lane 0.
    """
    engine.submit(0, [Sample(image, reference)])
    (outputs,) = engine.collect(0)
    return outputs


def check_outputs(manifest: ModelManifest, outputs: Outputs) -> None:
    """Raise EngineError if the outputs for a sample have other shapes than the model's.

    A part's slot has room for these shapes alone: of a smaller output, the rest would be an earlier part's.
    """
    for name, expected in manifest.outputs.items():
        if (found := outputs[name].shape) != expected:
            raise EngineError(f"{manifest.name}: {name}: expected an output of {expected}, received {found}")


def check_samples(manifest: ModelManifest, most: int, samples: Sequence[Sample]) -> None:
    """Raise EngineError if there are not 1 to `most` samples, or if any sample does not fit the model."""
    if not 1 <= len(samples) <= most:
        raise EngineError(f"{manifest.name}: expected 1 to {most} samples for a lane, received {len(samples)}")
    for sample in samples:
        if sample.warp is None:
            manifest.input.check("image", sample.image)
        elif (sample.image.shape, sample.image.dtype) != (sample.warp.frame, np.dtype(np.uint8)):
            found = f"{sample.image.shape} {sample.image.dtype}"
            raise EngineError(f"frame: expected {sample.warp.frame} uint8, received {found}")
        elif sample.region is None:
            raise EngineError("frame: expected the region that its warps read, received None")
        if manifest.features and sample.reference is None:
            raise EngineError(
                f"{manifest.name} compares with a master: submit needs its reference, received None"
            )
