"""The preprocess stage: crops each frame, aligns it with its master and warps it into each judge's input."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from ..errors import PartError, RecipeError, SlotOverwritten
from ..image.health import HealthMeter
from ..image.prepare import Preparer
from ..memory.ring import Ring, as_image
from ..messages import Frame, Health, Input, Refused, Tensor, Unknown
from .loop import refuse


class PreprocessStep:
    """Writes each judge's input into the part's slot, beside the frame.

    If a judge's engine warps frames itself, this step only finds where the input lies in the frame.
    """

    lanes = 1
    batch = 1
    waits = False

    def __init__(
        self,
        ring: Ring,
        preparers: Sequence[Preparer],
        warped_by_engine: Callable[[], Sequence[bool]] | None = None,
        *,
        meter: HealthMeter | None = None,
        frozen_after: int = 0,
    ) -> None:
        """`warped_by_engine` says for each judge whether its engine warps frames. None means that none does.

        `meter` measures the camera's pictures. Parts after `frozen_after` repetitions of a picture are refused;
        0 means that none is.
        """
        self._ring, self._preparers = ring, preparers
        self._meter, self._frozen_after = meter or HealthMeter(None, None, is_live=False), frozen_after
        self._warped_by_engine = warped_by_engine or (lambda: [False] * len(preparers))

    def start(self, messages: Sequence[Frame | Tensor]) -> list[Unknown]:
        """Prepare a part. Return `Unknown` if its slot is lost or all judges refuse it for the same reason."""
        (message,) = messages
        if not isinstance(message, Frame):
            raise TypeError(f"preprocess got a {type(message).__name__}")
        health = None
        try:
            with self._ring.area(message.part, "frame") as area:
                measured = self._meter.measure(as_image(area, message.shape))
            health = measured  # the slot was the part's own until here
            self._done = self._prepared(message, health)
            # A picture that cannot be inspected has another reason, such as a lamp that is out.
            if 0 < self._frozen_after <= health.repeats:
                raise PartError(
                    "frozen",
                    f"the picture is the same, bit for bit, as the {health.repeats} before it: the camera is "
                    "frozen. Set source.frozen_after for a camera that may repeat a picture",
                )
        except (PartError, SlotOverwritten) as error:
            return [msgspec.structs.replace(refuse(message, error), health=health)]
        return []

    def _prepared(self, message: Frame, health: Health) -> Tensor:
        inputs: list[Input | Refused] = []
        refusals: list[PartError] = []
        for number, preparer in enumerate(self._preparers):
            try:
                inputs.append(self._input(message, number, preparer))
            except PartError as error:
                refusals.append(error)
                inputs.append(Refused(reason=error.reason, detail=str(error)))
        if len(refusals) == len(inputs) and len({error.reason for error in refusals}) == 1:
            raise refusals[0]
        return Tensor(
            part=message.part, inputs=tuple(inputs), health=_placed(health, inputs), done_ns=message.done_ns
        )

    def _input(self, message: Frame, number: int, preparer: Preparer) -> Input:
        part = message.part
        try:
            with self._ring.area(part, "frame") as area, self._ring.area(part, "tensor", number) as tensor:
                frame = as_image(area, message.shape)
                out = None if self._warped_by_engine()[number] else as_image(tensor, preparer.shape)
                return preparer.prepare(frame, part.view, out)
        except RecipeError as error:
            # A master that does not fit must not stop the other views.
            raise PartError("view", str(error)) from error

    def ready(self, position: int, timeout_s: float = 0.0) -> bool:
        """Return True, since `start` does the work itself."""
        return True

    def finish(self, position: int = 0) -> list[Tensor]:
        """Return the inputs that `start` prepared, as one Tensor message."""
        return [self._done]


def _placed(health: Health, inputs: Sequence[Input | Refused]) -> Health:
    """Return the health with the pose that the first judge which registers parts has found, if one has."""
    poses = [one.pose for one in inputs if isinstance(one, Input) and one.pose is not None]
    if not poses:
        return health
    right, down, turn = poses[0]
    return msgspec.structs.replace(health, shift_px=(right, down), rotation_deg=turn)
