"""Checks a frame's contrast, registers its part to the master, and warps the frame into a model's input."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import PartError
from ..manifest import InputSpec
from ..messages import Input
from ..recipe import Bayer, Preprocess
from .masters import Masters
from .picture import grey
from .register import register
from .warp import Warper


class Preparer:
    """Makes one model's inputs from the frames of a line, the drawings of a matcher, or rendered pictures.

    `ignored` is True at the input's pixels that are painted flat, as they are in the masters.
    """

    def __init__(
        self,
        preprocess: Preprocess,
        spec: InputSpec,
        masters: Masters | None,
        bayer: Bayer | None = None,
        ignored: NDArray[np.bool_] | None = None,
    ) -> None:
        self._min_contrast = preprocess.min_contrast
        self._warper = Warper(preprocess.crop, spec, bayer, ignored)
        self._masters = masters
        self.shape = spec.shape

    def prepare(self, frame: NDArray[np.uint8], view: str, out: NDArray[np.uint8] | None) -> Input:
        """Write the model's input into `out` as `(1, C, H, W)` uint8. Return where the input lies in the frame.

        `frame` is `(H, W)` grey or raw, or `(H, W, 3)` BGR, uint8. `out` is None if the engine
        will warp the frame; then nothing is written. Raise PartError if the contrast is too low, if the view
        has no master, or if the part cannot be registered to the master.
        """
        if out is not None:
            # The warp needs them anyway, and a raw frame is demosaiced once.
            frame = self._warper.colours(frame)
        crop = self._warper.shown(frame)
        contrast = _contrast(crop)
        if contrast < self._min_contrast:
            raise PartError(
                "dark",
                f"the picture's contrast is {contrast:.0f} grey levels, expected at least "
                f"{self._min_contrast:g}: check lamp and shutter",
            )
        found = under = None
        if self._masters is not None:
            master = self._masters.get(view)
            found, under = register(grey(crop), master.template), master.input
        warp = self._warper.warp(frame.shape, None if found is None else found.matrix)
        if out is not None:
            warp.apply(frame, out, under)
        return Input(
            to_frame=warp.to_frame,
            registration_px=None if found is None else found.residual_px,
            pose=None if found is None else found.pose,
            in_slot=out is not None,
        )


def _contrast(picture: NDArray[np.uint8]) -> float:
    """Return the contrast of a picture: its 99th minus its 1st percentile, in grey levels.

    `picture` is `(H, W)` or `(H, W, 3)` BGR, uint8. Only about four thousand of its pixels are read.
    """
    step = max(1, min(picture.shape[:2]) // 64)
    counts = np.cumsum(np.bincount(grey(picture[::step, ::step]).ravel(), minlength=256))
    low, high = np.searchsorted(counts, (counts[-1] // 100, counts[-1] - 1 - counts[-1] // 100), side="right")
    return float(high - low)
