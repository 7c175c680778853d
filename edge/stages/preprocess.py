"""Preprocess: Frame -> Tensor. A picture is cropped, laid onto its master and resized, in one warp."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..errors import PartError, RecipeError, SlotOverwritten
from ..image.prepare import Preparer
from ..memory.ring import Ring, as_image
from ..messages import Frame, Input, Laid, Posed, Refused, Tensor, Unknown
from .loop import refuse


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
