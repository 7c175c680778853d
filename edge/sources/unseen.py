"""Finds the triggers that a source counted and nobody saw, between two triggers that were seen."""

from __future__ import annotations

from dataclasses import dataclass

from .base import EarlierPicture, Trigger


@dataclass(frozen=True)
class Gap:
    """What the counts of two triggers say about the time between them."""

    unseen: tuple[Trigger, ...] = ()  # triggers that nobody saw, in order
    lost: int = 0  # triggers that nobody saw, if they are too many to be told one by one
    back_from: int = -1  # the earlier trigger's count if the source has begun to count anew; -1: it has not


def gap_before(trigger: Trigger, last: EarlierPicture | None, most: int) -> Gap:
    """Return the triggers between the part `last` and `trigger`, by the counts of their source.

    More than `most` are only counted, because so large a jump may as well be the source's error. Frames that
    the source skipped on purpose are no gap. The times of the unseen triggers are not known: they are spread
    evenly over the time between the two.
    """
    if last is None or last.count < 0 or trigger.count < 0:
        return Gap()
    if trigger.count <= last.count:
        return Gap(back_from=last.count)
    number = trigger.count - last.count - 1 - trigger.skipped
    if number <= 0:
        return Gap()
    if number > most:
        return Gap(lost=number)
    step_ns = (trigger.captured_ns - last.captured_ns) / (number + 1)
    ahead_ns = [round((number - place) * step_ns) for place in range(number)]
    return Gap(
        unseen=tuple(
            Trigger(
                view="",
                captured_ns=trigger.captured_ns - ns,
                captured_at_ns=trigger.captured_at_ns - ns,
                count=last.count + 1 + place,
            )
            for place, ns in enumerate(ahead_ns)
        )
    )
