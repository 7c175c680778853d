"""Preprocess: Frame -> Tensor. A picture is cropped, laid onto its master and resized, in one warp."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import PartError, RecipeError
from .manifest import InputSpec
from .masters import Masters
from .messages import Frame, Tensor
from .recipe import Preprocess
from .register import register
from .resample import Resampler, ToFrame, grey
from .ring import Ring, as_image


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """How the model's input lies in the frame."""

    to_frame: ToFrame  # 2x3, input pixel -> frame pixel
    registration_px: float  # residual after registration; 0 where there is none


class Preparer:
    """Turns frames into model inputs; training, evaluation and the line all use this one."""

    def __init__(self, preprocess: Preprocess, spec: InputSpec, masters: Masters | None) -> None:
        self._min_contrast = preprocess.min_contrast
        self._resampler = Resampler(preprocess.crop, spec)
        self._masters = masters

    def prepare(self, frame: NDArray[np.uint8], view: str, out: NDArray[np.uint8]) -> Prepared:
        """Write a frame, `(H, W)` grey or `(H, W, 3)` BGR, into `out`, `(1, C, H, W)` uint8.

        Raises PartError where the frame is dark, has no master or cannot be laid onto it.
        """
        crop = self._resampler.crop(frame)
        contrast = _contrast(crop)
        if contrast < self._min_contrast:
            raise PartError(
                "dark",
                f"the picture's contrast is {contrast:.0f} grey levels, at least {self._min_contrast:g} "
                "are wanted: lamp or shutter",
            )
        if self._masters is None:
            return Prepared(to_frame=self._resampler.lay(frame, out), registration_px=0.0)
        master = self._masters.get(view)
        found = register(grey(crop), master.template)
        to_frame = self._resampler.lay(frame, out, found.matrix, under=master.input)
        return Prepared(to_frame=to_frame, registration_px=found.residual_px)


def _contrast(picture: NDArray[np.uint8]) -> float:
    """Grey levels from the 1st to the 99th percentile, of some four thousand pixels."""
    step = max(1, min(picture.shape[:2]) // 64)
    counts = np.cumsum(np.bincount(grey(picture[::step, ::step]).ravel(), minlength=256))
    low, high = np.searchsorted(counts, (counts[-1] // 100, counts[-1] - 1 - counts[-1] // 100), side="right")
    return float(high - low)


class PreprocessStep:
    """The step that lays each frame's tensor beside it in the part's slot."""

    depth = 1

    def __init__(self, ring: Ring, preparer: Preparer, spec: InputSpec) -> None:
        self._ring, self._preparer, self._shape = ring, preparer, spec.shape

    def start(self, message: Frame | Tensor) -> None:
        """Prepare the part; PartError or SlotOverwritten where that cannot be done."""
        if not isinstance(message, Frame):
            raise TypeError(f"preprocess got a {type(message).__name__}")
        part = message.part
        with self._ring.area(part, "frame") as frame, self._ring.area(part, "tensor") as tensor:
            try:
                prepared = self._preparer.prepare(
                    as_image(frame, message.shape), part.view, as_image(tensor, self._shape)
                )
            except RecipeError as error:  # a master that does not fit must not stop the other views
                raise PartError("view", str(error)) from error
        self._done = Tensor(
            part=part,
            shape=self._shape,
            to_frame=prepared.to_frame,
            registration_px=prepared.registration_px,
            done_ns=message.done_ns,
        )

    def finish(self) -> Tensor:
        return self._done
