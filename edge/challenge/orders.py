"""Lays out the parts of a challenge test: which part comes next, and what has to be done with it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal, get_args

from msgspec import Struct

#: consecutive: bad parts in a row are all rejected.
#: alternating: good and bad parts take turns, and only the bad ones are rejected: no reject hits the neighbour.
#: fail-safe: a part that cannot be seen is rejected.
Order = Literal["consecutive", "alternating", "fail-safe"]
ORDERS: tuple[Order, ...] = get_args(Order)
Expected = Literal["accept", "reject"]
#: What keeps a line from seeing a part, by name: what a person does to bring it about on the belt.
FAULTS = {
    "covered lens": "cover the lens, and lay on a GOOD part",
    "pulled camera": "uncover the lens, pull the camera's cable, and lay on a GOOD part",
}
PULLED = "pulled camera"
#: The same for pictures in files, of which a damaged copy is made. With several cameras, PULLED means that the
#: picture of one of them is not there.
DAMAGES = ("covered lens", "no picture", "damaged file")


class Step(Struct, frozen=True, kw_only=True):
    """One part of the test."""

    order: Order
    part: Literal["good", "bad"]
    expected: Expected
    fault: str = ""  # what keeps the line from seeing the part; empty: nothing
    camera: str = ""  # of several cameras, the one with the fault; empty: the only one, or no fault

    @property
    def is_away(self) -> bool:
        """Whether the line's only camera is away: the line may then say no more than that it is blind."""
        return self.fault == PULLED and not self.camera


def steps_of(
    orders: Sequence[Order], repeats: int, faults: Sequence[str], cameras: Sequence[str] = ("",)
) -> list[Step]:
    """Return the parts of a test, in the order in which they come.

    `repeats` is the number of bad parts in the orders consecutive and alternating. Each fault is followed by a
    good part that has to be accepted, which shows that the line sees again. Each of `cameras` has each fault
    once; without names, the line has one camera.
    """
    steps: list[Step] = []
    for order in orders:
        good = Step(order=order, part="good", expected="accept")
        bad = Step(order=order, part="bad", expected="reject")
        if order == "consecutive":
            steps += [bad] * repeats
        elif order == "alternating":
            steps += [good, bad] * repeats + [good]
        else:
            for fault, camera in itertools.product(faults, cameras):
                steps += [Step(order=order, part="good", expected="reject", fault=fault, camera=camera), good]
    return steps


def instruction(step: Step, before: Step | None) -> str:
    """Return what a person has to do now, so that the part of this step comes next on the belt."""
    if step.fault:
        return FAULTS[step.fault]
    undo = "see that the camera is plugged in and uncovered, and " if before and before.fault else ""
    return f"{undo}lay on a {step.part.upper()} part"
