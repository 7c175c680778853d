"""Follows the ledgers of a belt's cameras: which looks each part has, and when it has to be decided."""

from __future__ import annotations

from collections.abc import Mapping

from ..memory.ledger import ROWS, Ledger
from ..messages import Part
from .course import Course
from .deadline import deadline_now
from .layout import Layout
from .match import Fate, Station, fate_of, look_of, part_of
from .places import NOWHERE, Places, places_of
from .track import NEVER

#: Decided rows that are kept, so that a late look still finds the part that it would have belonged to.
KEPT = ROWS // 2


class Join:
    """The parts and looks of a line's ledgers. The first ledger's rows are the parts.

    It answers from the rows and the belt's position alone, and keeps nothing else. So a process that takes over
    comes to the same answers.
    """

    def __init__(self, ledgers: Mapping[str, Ledger], layout: Layout, course: Course) -> None:
        self._ledgers, self._course = ledgers, course
        self.layout = layout
        self.first = next(iter(ledgers))
        self._has_ended = False
        self._places = {name: places_of(()) for name in ledgers}
        self._read = dict.fromkeys(ledgers, 0)

    @property
    def stations(self) -> tuple[Station, ...]:
        """The cameras behind the first one."""
        return self.layout.stations

    def update(self) -> None:
        """Take in the rows that were entered since the last call."""
        for name, ledger in self._ledgers.items():
            for entry, position in ledger.positions(self._read[name]):
                self._places[name].add(entry, position)
                self._read[name] = entry + 1
            if len(self._places[name]) > ROWS:
                self._places[name].forget(min(ledger.published, self._read[name] - KEPT))

    @property
    def is_plain(self) -> bool:
        """Whether a part waits for nothing but the answers of the stages."""
        return not (self.layout.stations or self.layout.by_encoder or self.layout.min_gap)

    @property
    def parts(self) -> Places:
        """The places of the parts, at the first camera."""
        return self._places[self.first]

    def look(self, part: int, station: Station) -> int | None:
        """Return the look that a part has at a station, by the rows so far. A decided look is none."""
        look = look_of(part, self.parts, self._places[station.name], station)
        return look if look is not None and look >= self._ledgers[station.name].published else None

    def is_settled(self, part: int, station: Station, now_ns: int) -> bool:
        """Return whether a part's look at a station cannot change any more."""
        position = self.parts.position(part)
        return position == NOWHERE or self.passed(now_ns) >= station.settled_at(position)

    def fate(self, look: int, station: Station, now_ns: int) -> Fate:
        """Return whether an undecided look belongs to a part, or is a stray."""
        decided, passed = self._ledgers[self.first].published, self.passed(now_ns)
        return fate_of(look, self.parts, self._places[station.name], station, decided=decided, passed=passed)

    def spot(self, look: int, station: Station) -> int:
        """Return the place of a look, as the position of its part at the first camera; NOWHERE if unknown."""
        position = self._places[station.name].position(look)
        return position if position == NOWHERE else position - station.at

    def loose(self, now_ns: int) -> list[tuple[str, int, int, bool]]:
        """Return the undecided looks that belong to no part so far, and whether they surely never will.

        Each is given by its camera, its entry and its spot.
        """
        found = []
        for station in self.stations:
            ledger, places = self._ledgers[station.name], self._places[station.name]
            for look in range(ledger.published, self._read[station.name]):
                is_stray = self.fate(look, station, now_ns) == "stray"
                if is_stray or part_of(look, self.parts, places, station) is None:
                    found.append((station.name, look, self.spot(look, station), is_stray))
        return found

    def deadline_ns(self, part: Part, spot: int, now_ns: int) -> int:
        """Return until when a part, or a stray look, at `spot` has to be decided, as known at `now_ns`."""
        return deadline_now(self.layout, self._course, part, spot, now_ns)

    def eject_ns(self, spot: int, now_ns: int) -> int | None:
        """Return when a part at `spot` reaches the ejector; None if there is none, or if this is not known."""
        if self.layout.eject_at is None or spot == NOWHERE or not self.is_known(spot, now_ns):
            return None
        return self._course.reach_ns(spot + self.layout.eject_at, now_ns)

    def is_known(self, spot: int, now_ns: int) -> bool:
        """Return whether it is known where the part at `spot` is now."""
        return spot != NOWHERE and self._course.is_known(spot, now_ns)

    def due_ns(self, now_ns: int) -> int:
        """Return until when the next part has to be decided: when it or any later part has to be.

        Verdicts go in the order of the parts, which is not always the order of their deadlines. If it is not
        known any more where the parts are, they have to be decided now.
        """
        ledger = self._ledgers[self.first]
        waiting = range(ledger.published, ledger.captured)
        first = ledger.part(waiting.start)
        if not self.layout.by_encoder:
            return self.deadline_ns(first, self.parts.position(first.entry), now_ns)
        placed = [p for entry in waiting if (p := self.parts.position(entry)) != NOWHERE]
        lost = [ledger.part(entry) for entry in waiting if self.parts.position(entry) == NOWHERE]
        due = [part.deadline_ns for part in lost]
        if placed:
            known = self.is_known(min(placed), now_ns)
            due.append(self.deadline_ns(first, min(placed), now_ns) if known else now_ns)
        return min(due)

    def passed(self, now_ns: int) -> int:
        """Return the position up to which all triggers have been entered."""
        return NEVER if self._has_ended else self._course.passed(now_ns)

    def end(self) -> None:
        """Note that no further row will be entered, wherever the belt is."""
        self._has_ended = True
