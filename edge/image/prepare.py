"""A frame into a model's input: cropped, registered to its master, and warped."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import PartError
from ..manifest import InputSpec
from ..messages import Laid, Posed
from ..recipe import Bayer, Preprocess
from .masters import Masters
from .picture import grey
from .register import Registration, register
from .warp import Resampler


class Preparer:
    """Turns frames into model inputs; training, evaluation and the line all use this one."""

    def __init__(
        self, preprocess: Preprocess, spec: InputSpec, masters: Masters | None, bayer: Bayer | None = None
    ) -> None:
        self._min_contrast = preprocess.min_contrast
        self._resampler = Resampler(preprocess.crop, spec, bayer)
        self._masters = masters
        self.shape = spec.shape

    def prepare(self, frame: NDArray[np.uint8], view: str, out: NDArray[np.uint8]) -> Laid:
        """Write a frame, `(H, W)` grey or raw or `(H, W, 3)` BGR, into `out`, `(1, C, H, W)` uint8.

        Raises PartError where the frame is dark, has no master or cannot be laid onto it.
        """
        frame = self._resampler.colours(frame)
        found, under = self._find(frame, view)
        to_frame = self._resampler.lay(frame, out, None if found is None else found.matrix, under=under)
        return Laid(to_frame=to_frame, registration_px=None if found is None else found.residual_px)

    def pose(self, frame: NDArray[np.uint8], view: str) -> Posed:
        """How `prepare` would lay the frame, for an engine that does it; PartError likewise."""
        shape = frame.shape
        found, _ = self._find(self._resampler.colours(frame), view)
        if found is None:
            return Posed(pose=None, to_frame=self._resampler.laying(shape).to_frame, registration_px=None)
        a, b, x, c, d, y = found.matrix.ravel().tolist()
        to_frame = self._resampler.laying(shape, found.matrix).to_frame
        return Posed(pose=(a, b, x, c, d, y), to_frame=to_frame, registration_px=found.residual_px)

    def _find(
        self, frame: NDArray[np.uint8], view: str
    ) -> tuple[Registration, NDArray[np.uint8]] | tuple[None, None]:
        """How the part lies on its master, and the master's input; None for a model without masters."""
        crop = self._resampler.crop(frame)
        contrast = _contrast(crop)
        if contrast < self._min_contrast:
            raise PartError(
                "dark",
                f"the picture's contrast is {contrast:.0f} grey levels, at least {self._min_contrast:g} "
                "are wanted: lamp or shutter",
            )
        if self._masters is None:
            return None, None
        master = self._masters.get(view)
        return register(grey(crop), master.template), master.input


def _contrast(picture: NDArray[np.uint8]) -> float:
    """Grey levels from the 1st to the 99th percentile, of some four thousand pixels."""
    step = max(1, min(picture.shape[:2]) // 64)
    counts = np.cumsum(np.bincount(grey(picture[::step, ::step]).ravel(), minlength=256))
    low, high = np.searchsorted(counts, (counts[-1] // 100, counts[-1] - 1 - counts[-1] // 100), side="right")
    return float(high - low)
