"""Tells until when a part on a belt has to be decided: as expected at its trigger, and as expected now."""

from __future__ import annotations

from collections.abc import Callable

from ..messages import Part
from .course import LONGEST_NS, Course
from .layout import Layout
from .places import NOWHERE

#: Returns until when a part has to be decided, as known at a time. Both are ns of the monotonic clock.
DeadlineAt = Callable[[Part, int], int]


def deadline_at_capture(layout: Layout, course: Course, camera: str, captured_ns: int, position: int) -> int:
    """Return the deadline of the part that a look will belong to, as far as it is known at its trigger.

    On a belt with an encoder this is an estimate from the present speed.
    """
    station = layout.station(camera)
    at = station.at if station else 0
    if layout.eject_at is None:
        return captured_ns + layout.deadline_ns - (0 if layout.by_encoder else at)
    if position == NOWHERE:
        return captured_ns + layout.deadline_ns
    reach_ns = course.reach_ns(position - at + layout.eject_at, captured_ns)
    return min(reach_ns, captured_ns + LONGEST_NS) - layout.lead_ns


def deadline_now(layout: Layout, course: Course, part: Part, spot: int, now_ns: int) -> int:
    """Return until when a part, or a stray look, at `spot` has to be decided, as known at `now_ns`.

    It is that of its trigger if there is no ejector, or if nobody knows where the part is.
    """
    if layout.eject_at is None or spot == NOWHERE or not course.is_known(spot, now_ns):
        return part.deadline_ns
    return course.reach_ns(spot + layout.eject_at, now_ns) - layout.lead_ns


def deadline_of_looks(layout: Layout, course: Course) -> DeadlineAt:
    """Return the function that tells the deadline of the part to which a look of any camera belongs."""
    if not layout.by_encoder:
        return fixed_deadline
    at = {station.name: station.at for station in layout.stations}

    def deadline(part: Part, now_ns: int) -> int:
        is_placed = part.position != NOWHERE
        spot = part.position - at.get(part.camera, 0) if is_placed else NOWHERE
        return deadline_now(layout, course, part, spot, now_ns)

    return deadline


def fixed_deadline(part: Part, now_ns: int) -> int:
    """Return the deadline of a part whose way does not depend on a belt that may stop."""
    return part.deadline_ns
