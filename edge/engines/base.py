"""The protocol of engines: a loaded model that turns inputs into named outputs, lane by lane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import EngineError
from ..image.warp import Warp
from ..manifest import ModelManifest, Precision

Image = NDArray[np.uint8]
Outputs = dict[str, NDArray[np.float32]]


class Reference(Protocol):
    """What an engine keeps of a master, such as its features; only its size in bytes is known to others."""

    @property
    def nbytes(self) -> int: ...


@dataclass(frozen=True, eq=False)
class Sample:
    """One part for an engine: its input `(1, C, H, W)` uint8 and, for a comparator, its master's reference.

    With a `warp`, the image is the camera's frame instead, uint8, which the engine warps into the input.
    """

    image: Image
    reference: Reference | None = None
    warp: Warp | None = None


class Engine(Protocol):
    """Runs one model. Making it is cheap; `with` loads the model and releases it afterwards.

    A lane holds one request in flight, of one sample or several. Lanes may be collected in any order.
    """

    name: str
    precision: Precision
    lanes: int
    batch: int  # samples that a lane takes at once; known once the model is loaded
    warps_frames: bool  # takes samples with a warp; known then too

    def __enter__(self) -> Engine: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def pin(self, memory: Image) -> None:
        """Announce page-aligned memory that images will lie in, so that a device can read them there."""
        ...

    def reference(self, master: Image) -> Reference:
        """Return the reference of a master's input `(1, C, H, W)` uint8, or raise EngineError."""
        ...

    def submit(self, lane: int, samples: Sequence[Sample]) -> None:
        """Start up to `batch` samples on an idle lane. Images must not change until it is collected.

        Raise EngineError where the samples do not fit, the lane is busy or the engine fails.
        """
        ...

    def collect(self, lane: int) -> list[Outputs]:
        """Wait for the lane; return each sample's outputs by name, float32, valid until the next submit.

        Raise EngineError where it failed, and EngineLost where no engine of this process can go on.
        """
        ...


class OnCpu:
    """Shared by engines on the CPU: one sample at a time, from any memory, already warped."""

    batch = 1
    warps_frames = False

    def pin(self, memory: Image) -> None:
        return


def ask(engine: Engine, image: Image, reference: Reference | None = None) -> Outputs:
    """Return the outputs for one input `(1, C, H, W)` uint8, on lane 0; valid until its next submit."""
    engine.submit(0, [Sample(image, reference)])
    (outputs,) = engine.collect(0)
    return outputs


def check_samples(manifest: ModelManifest, batch: int, samples: Sequence[Sample]) -> None:
    """Raise EngineError unless the samples are what the model takes: count, shapes, dtype, references."""
    if not 1 <= len(samples) <= batch:
        raise EngineError(f"{manifest.name}: expected 1 to {batch} samples for a lane, received {len(samples)}")
    for sample in samples:
        if sample.warp is None:
            manifest.input.check("image", sample.image)
        elif (sample.image.shape, sample.image.dtype) != (sample.warp.frame, np.dtype(np.uint8)):
            found = f"{sample.image.shape} {sample.image.dtype}"
            raise EngineError(f"frame: expected {sample.warp.frame} uint8, received {found}")
        if manifest.features and sample.reference is None:
            raise EngineError(
                f"{manifest.name} compares with a master: submit needs its reference, received None"
            )
