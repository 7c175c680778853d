"""Preprocess: Frame -> Tensor. A picture is cropped, laid onto its master and resized, in one warp."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .errors import PartError, RecipeError, SlotOverwritten
from .manifest import InputSpec
from .masters import Masters
from .messages import Frame, Input, Laid, Refused, Tensor, Unknown
from .recipe import Bayer, Preprocess
from .register import register
from .resample import Resampler, grey
from .ring import Ring, as_image
from .stage import refuse


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
        crop = self._resampler.crop(frame)
        contrast = _contrast(crop)
        if contrast < self._min_contrast:
            raise PartError(
                "dark",
                f"the picture's contrast is {contrast:.0f} grey levels, at least {self._min_contrast:g} "
                "are wanted: lamp or shutter",
            )
        if self._masters is None:
            return Laid(to_frame=self._resampler.lay(frame, out), registration_px=None)
        master = self._masters.get(view)
        found = register(grey(crop), master.template)
        to_frame = self._resampler.lay(frame, out, found.matrix, under=master.input)
        return Laid(to_frame=to_frame, registration_px=found.residual_px)


def _contrast(picture: NDArray[np.uint8]) -> float:
    """Grey levels from the 1st to the 99th percentile, of some four thousand pixels."""
    step = max(1, min(picture.shape[:2]) // 64)
    counts = np.cumsum(np.bincount(grey(picture[::step, ::step]).ravel(), minlength=256))
    low, high = np.searchsorted(counts, (counts[-1] // 100, counts[-1] - 1 - counts[-1] // 100), side="right")
    return float(high - low)


class PreprocessStep:
    """The step that lays the input of each judge beside the frame in the part's slot."""

    lanes = 1
    batch = 1

    def __init__(self, ring: Ring, preparers: Sequence[Preparer]) -> None:
        self._ring, self._preparers = ring, preparers

    def start(self, messages: Sequence[Frame | Tensor]) -> list[Unknown]:
        """Prepare the part; it is refused where its slot is lost, or no judge can look at it for one reason."""
        (message,) = messages
        if not isinstance(message, Frame):
            raise TypeError(f"preprocess got a {type(message).__name__}")
        try:
            self._done = self._prepared(message)
        except (PartError, SlotOverwritten) as error:
            return [refuse(message, error)]
        return []

    def _prepared(self, message: Frame) -> Tensor:
        inputs: list[Input] = []
        refusals: list[PartError] = []
        for number, preparer in enumerate(self._preparers):
            try:
                inputs.append(self._laid(message, number, preparer))
            except PartError as error:
                refusals.append(error)
                inputs.append(Refused(reason=error.reason, detail=str(error)))
        if len(refusals) == len(inputs) and len({error.reason for error in refusals}) == 1:
            raise refusals[0]
        return Tensor(part=message.part, inputs=tuple(inputs), done_ns=message.done_ns)

    def _laid(self, message: Frame, number: int, preparer: Preparer) -> Laid:
        part = message.part
        with self._ring.area(part, "frame") as frame, self._ring.area(part, "tensor", number) as tensor:
            try:
                image = as_image(tensor, preparer.shape)
                return preparer.prepare(as_image(frame, message.shape), part.view, image)
            except RecipeError as error:  # a master that does not fit must not stop the other views
                raise PartError("view", str(error)) from error

    def finish(self) -> list[Tensor]:
        return [self._done]
