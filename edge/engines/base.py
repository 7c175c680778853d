"""What an engine is: a loaded artifact that turns model inputs into named outputs, lane by lane."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import EngineError
from ..manifest import Manifest, Precision

Image = NDArray[np.uint8]
Outputs = dict[str, NDArray[np.float32]]


class Reference(Protocol):
    """What an engine keeps of a master image: opaque, but its size counts against the cache."""

    @property
    def nbytes(self) -> int: ...


class Engine(Protocol):
    """Cheap to make; the artifact is loaded on `with` and released after it.

    A lane holds one request in flight. Results of different lanes may be collected in any order.
    """

    name: str
    precision: Precision
    lanes: int

    def __enter__(self) -> Engine: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def reference(self, master: Image) -> Reference:
        """Run the reference graph on a master `(1, C, H, W)` uint8; EngineError where it does not fit."""
        ...

    def submit(self, lane: int, image: Image, reference: Reference | None) -> None:
        """Start judging `(1, C, H, W)` uint8 on an idle lane; the array must stay as it is until collected."""
        ...

    def collect(self, lane: int) -> Outputs:
        """Wait for the lane and return its outputs, float32; they are valid until the next submit there."""
        ...


def check_inputs(manifest: Manifest, image: Image, reference: Reference | None) -> None:
    """EngineError if a part's inputs are not what the model takes."""
    manifest.input.check("image", image)
    if manifest.features and reference is None:
        raise EngineError(f"{manifest.name} compares with a master: submit needs its reference, received None")
