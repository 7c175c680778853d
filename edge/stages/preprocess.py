"""Preprocess: Frame -> Tensor. A picture is cropped, laid onto its master and resized, in one warp."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import PartError, RecipeError, SlotOverwritten
from ..image.masters import Masters
from ..image.register import Registration, register
from ..image.warp import Resampler, grey
from ..manifest import InputSpec
from ..memory.ring import Ring, as_image
from ..messages import Frame, Input, Laid, Posed, Refused, Tensor, Unknown
from ..recipe import Bayer, Preprocess
from .loop import refuse


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


class PreprocessStep:
    """The step that lays the input of each judge beside the frame in the part's slot.

    Of a judge whose engine lays frames by itself, it only says how.
    """

    lanes = 1
    batch = 1

    def __init__(
        self,
        ring: Ring,
        preparers: Sequence[Preparer],
        laid_by_engine: Callable[[], Sequence[bool]] | None = None,  # judge by judge; None: by none
    ) -> None:
        self._ring, self._preparers = ring, preparers
        self._laid_by_engine = laid_by_engine or (lambda: [False] * len(preparers))

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
                inputs.append(self._input(message, number, preparer))
            except PartError as error:
                refusals.append(error)
                inputs.append(Refused(reason=error.reason, detail=str(error)))
        if len(refusals) == len(inputs) and len({error.reason for error in refusals}) == 1:
            raise refusals[0]
        return Tensor(part=message.part, inputs=tuple(inputs), done_ns=message.done_ns)

    def _input(self, message: Frame, number: int, preparer: Preparer) -> Laid | Posed:
        part = message.part
        try:
            with self._ring.area(part, "frame") as area, self._ring.area(part, "tensor", number) as tensor:
                frame = as_image(area, message.shape)
                if self._laid_by_engine()[number]:
                    return preparer.pose(frame, part.view)
                return preparer.prepare(frame, part.view, as_image(tensor, preparer.shape))
        except RecipeError as error:  # a master that does not fit must not stop the other views
            raise PartError("view", str(error)) from error

    def finish(self) -> list[Tensor]:
        return [self._done]
