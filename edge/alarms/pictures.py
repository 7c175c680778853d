"""Learns how a camera's pictures and its parts' places are, and tells when they have moved from there.

For each view, the first accepted parts give mean and spread of each quantity. A quantity has moved if the
median deviation of the last parts is beyond its limit, and beyond SPREADS standard deviations of a single
part, so that neither a small change nor the normal variation of parts counts.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from msgspec import UNSET, Struct

from ..messages import Health, Verdict
from ..recipe import AlarmLimits

#: Number of last parts that raise an alarm, and of those that show what an alarm about rejects points to.
WINDOW, RECENT = 20, 10
#: Of RECENT parts of a normal distribution, the median is so far off once in two million parts; of WINDOW
#: parts, once in a hundred thousand million.
SPREADS = 2.0
#: Views of which means are kept. Parts of further views are not compared.
MOST_VIEWS = 500
#: A quantity that has moved counts as back when its median is within this share of the limit.
BACK = 0.7


class Moments(Struct, kw_only=True):
    """The number, mean, and sum of squared deviations of the values that were learnt (Welford 1962)."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        """Add a value."""
        self.count += 1
        before = value - self.mean
        self.mean += before / self.count
        self.squares += before * (value - self.mean)

    @property
    def spread(self) -> float:
        """The standard deviation of the values."""
        return math.sqrt(self.squares / max(self.count - 1, 1))


#: View -> quantity -> what was learnt.
Learnt = dict[str, dict[str, Moments]]


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One quantity of a picture: the alarm that it raises, and which changes count."""

    alarm: str
    says: str  # for people, with a place for the change
    relative: bool = False  # changes are shares of the mean
    down: bool = True  # a fall counts
    up: bool = True  # a rise counts


QUANTITIES = {
    "focus": Quantity(alarm="focus", says="pictures are {:.0%} less sharp", relative=True, up=False),
    "level": Quantity(alarm="exposure", says="pictures are {:+.0%} brighter", relative=True),
    "saturated": Quantity(alarm="exposure", says="{:.1%} more of each picture is saturated", down=False),
    "shift_x": Quantity(alarm="registration", says="parts lie {:+.1f} px further right"),
    "shift_y": Quantity(alarm="registration", says="parts lie {:+.1f} px further down"),
    "rotation": Quantity(alarm="registration", says="parts are turned by {:+.1f} degrees"),
    "residual": Quantity(alarm="registration", says="parts fit their master worse by {:.1f} px", down=False),
}


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One camera's picture of a part."""

    camera: str
    view: str
    image: Health
    registration_px: float | None


def pictures_of(verdict: Verdict) -> list[Picture]:
    """Return the pictures of a verdict's part that were measured, one for each camera at most."""
    found = [verdict] if verdict.looks is UNSET else verdict.looks
    return [
        Picture(camera=one.camera, view=one.view, image=one.image, registration_px=one.registration_px)
        for one in found
        if one.image is not None
    ]


def values_of(picture: Picture) -> dict[str, float]:
    """Return the quantities of a picture; those that were not measured are left out."""
    image = picture.image
    found = {"focus": image.focus, "level": image.level, "saturated": image.saturated}
    if image.shift_px is not None and image.rotation_deg is not None:
        found |= {"shift_x": image.shift_px[0], "shift_y": image.shift_px[1], "rotation": image.rotation_deg}
    if picture.registration_px is not None:
        found["residual"] = picture.registration_px
    return found


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """How far one part's quantity is from what was learnt, and the spread of single parts, in the same unit."""

    by: float
    spread: float


class Pictures:
    """The quantities of one line's cameras. `learnt` continues what was learnt before a restart."""

    def __init__(self, limits: AlarmLimits, learnt: Learnt | None = None) -> None:
        self.learnt: Learnt = learnt or {}
        self._learn = limits.learn
        self._limits: Mapping[str, float] = {
            "focus": limits.focus,
            "level": limits.exposure,
            "saturated": limits.saturated,
            "shift_x": limits.shift_px,
            "shift_y": limits.shift_px,
            "rotation": limits.rotation_deg,
            "residual": limits.residual_px,
        }
        #: By camera and quantity, oldest part first.
        self._last: dict[tuple[str, str], deque[Deviation]] = {}
        self._moved: set[tuple[str, str]] = set()

    def note(self, picture: Picture, accepted: bool) -> None:
        """Compare a part's picture with what was learnt of its view. Learn from it, if that is not complete."""
        camera, key = picture.camera, f"{picture.camera}/{picture.view}"
        if key not in self.learnt and (not accepted or len(self.learnt) >= MOST_VIEWS):
            return
        of_view = self.learnt.setdefault(key, {})
        for name, value in values_of(picture).items():
            moments = of_view.setdefault(name, Moments())
            if moments.count >= self._learn:
                unit = abs(moments.mean) if QUANTITIES[name].relative else 1.0
                if unit > 0:
                    last = self._last.setdefault((camera, name), deque(maxlen=WINDOW))
                    last.append(Deviation(by=(value - moments.mean) / unit, spread=moments.spread / unit))
            elif accepted:
                moments.add(value)

    def moved(self, alarm: str) -> tuple[bool | None, str]:
        """Return whether a quantity of this alarm has moved, and which, for people. None: too few parts yet."""
        told, known = [], False
        for (camera, name), last in self._last.items():
            if QUANTITIES[name].alarm == alarm and len(last) == WINDOW:
                known = True
                share = BACK if (camera, name) in self._moved else 1.0
                if (by := self._beyond(name, last, WINDOW, share)) is None:
                    self._moved.discard((camera, name))
                else:
                    self._moved.add((camera, name))
                    told.append(_said(camera, name, by))
        return (bool(told) if known else None), ", ".join(told)

    def evidence(self) -> tuple[bool, list[str]]:
        """Return whether the last few parts could be compared, and what of their pictures has clearly moved.

        Half of an alarm's limit is enough here.
        """
        known, told = False, []
        for (camera, name), last in self._last.items():
            if len(last) >= RECENT:
                known = True
                if (by := self._beyond(name, last, RECENT, 0.5)) is not None:
                    told.append(_said(camera, name, by))
        return known, told

    def forget(self) -> None:
        """Forget what was learnt. The next accepted parts are learnt from."""
        self.learnt.clear()
        self._last.clear()
        self._moved.clear()

    def _beyond(self, name: str, last: deque[Deviation], parts: int, share: float) -> float | None:
        """Return the median deviation of the last parts, or None if it is within `share` of the limit."""
        recent, quantity = list(last)[-parts:], QUANTITIES[name]
        by = median(one.by for one in recent)
        spread = math.sqrt(sum(one.spread**2 for one in recent) / len(recent))
        counts = quantity.up if by > 0 else quantity.down
        return by if counts and abs(by) > max(self._limits[name] * share, SPREADS * spread) else None


def _said(camera: str, name: str, by: float) -> str:
    if name == "focus":
        by = -by
    return f"{QUANTITIES[name].says.format(by)} ({camera})"
