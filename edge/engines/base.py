"""What an engine is: a loaded artifact that turns model inputs into named outputs, lane by lane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import EngineError
from ..image.warp import Warp
from ..manifest import Manifest, Precision

Image = NDArray[np.uint8]
Outputs = dict[str, NDArray[np.float32]]


class Reference(Protocol):
    """What an engine keeps of a master image: opaque, but its size counts against the cache."""

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
    """Cheap to make; the artifact is loaded on `with` and released after it.

    A lane holds one request in flight, of one sample or of several. Results of different lanes may be
    collected in any order.
    """

    name: str
    precision: Precision
    lanes: int
    batch: int  # samples that a lane takes at once; known once the artifact is loaded
    warps_frames: bool  # takes samples with a warp; known then too

    def __enter__(self) -> Engine: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def pin(self, memory: Image) -> None:
        """Tell of page-aligned memory from which images will come, so that a device may read them there."""
        ...

    def reference(self, master: Image) -> Reference:
        """Run the reference graph on a master `(1, C, H, W)` uint8; EngineError where it does not fit."""
        ...

    def submit(self, lane: int, samples: Sequence[Sample]) -> None:
        """Start judging up to `batch` samples on an idle lane; images may not change until it is collected."""
        ...

    def collect(self, lane: int) -> list[Outputs]:
        """Wait for the lane and return each sample's outputs, float32; they are valid until the next submit.

        EngineError where it failed; EngineLost where no engine of this process can go on.
        """
        ...


class OnCpu:
    """What engines without a device have in common: a sample at a time, from any memory, laid out already."""

    batch = 1
    warps_frames = False

    def pin(self, memory: Image) -> None:
        return


def ask(engine: Engine, image: Image, reference: Reference | None = None) -> Outputs:
    """What an engine says of one picture, on its first lane; valid until that lane's next submit."""
    engine.submit(0, [Sample(image, reference)])
    (outputs,) = engine.collect(0)
    return outputs


def check_samples(manifest: Manifest, batch: int, samples: Sequence[Sample]) -> None:
    """EngineError if samples are not what the model takes."""
    if not 1 <= len(samples) <= batch:
        raise EngineError(f"{manifest.name}: a lane takes 1 to {batch} samples, received {len(samples)}")
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
