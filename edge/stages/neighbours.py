"""Finds the parts and stray looks on the belt that the ejector cannot part from a good part."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..belt.gap import Neighbour, cannot_stay, undecided
from ..belt.join import Join
from ..belt.places import NOWHERE
from ..memory.ledger import Ledger, Record

#: So many decided parts, and so many strays, are remembered. Any others are far down the belt.
KEPT = 512
ACCEPT = b"accept."


class Neighbours:
    """What was decided about the last parts and strays on the belt, and about those that are near to a part.

    It begins with what the ledgers have recorded, so a process that takes over knows the same.
    """

    def __init__(self, ledgers: Mapping[str, Ledger], join: Join, *, stray_rejected: bool) -> None:
        """`stray_rejected` says whether the recipe rejects stray looks."""
        self._ledgers, self._join, self._stray_rejected = ledgers, join, stray_rejected
        self._rejected: dict[int, bool] = {}
        self._strays: dict[str, Neighbour] = {}
        join.update()
        for camera, ledger in ledgers.items():
            for entry in range(max(0, ledger.published - KEPT), ledger.published):
                record = ledger.recorded(entry)
                if record is not None and record.topic:
                    station = join.layout.station(camera)
                    at = join.spot(entry, station) if station else join.parts.position(entry)
                    self.note(camera, entry, at, record)

    def note(self, camera: str, entry: int, spot: int, record: Record) -> None:
        """Note the verdict on a part, or on a stray look of one of the later cameras at `spot`."""
        rejected = not record.topic.startswith(ACCEPT)
        if camera == self._join.first:
            self._rejected[entry] = rejected
            self._rejected.pop(entry - KEPT, None)
        elif spot != NOWHERE:
            name = self._ledgers[camera].part(entry).part_id
            self._strays[name] = Neighbour(name=name, position=spot, rejected=rejected)
            if len(self._strays) > KEPT:
                del self._strays[next(iter(self._strays))]

    def near(
        self, part: int, now_ns: int, is_rejected: Callable[[int, int], bool | None], *, is_due: bool
    ) -> Neighbour | bool:
        """Return with what a good part would be blown off; False if with nothing, True if it has to wait.

        `is_rejected` says of a part without a verdict whether it will be rejected, or None. If the part
        `is_due`, what is not decided counts as rejected.
        """
        position, gap = self._join.parts.position(part), self._join.layout.min_gap
        if position == NOWHERE:
            return False
        strays = {**self._strays, **self._loose(now_ns)}
        others = self._around(part, strays, lambda entry: is_rejected(entry, now_ns))
        found = cannot_stay(position, others, gap, self._join.passed(now_ns))
        if found is True and is_due:
            may_come = Neighbour(name="", position=position, rejected=None)
            return undecided(position, others, gap) or may_come
        return found

    def _loose(self, now_ns: int) -> dict[str, Neighbour]:
        """Return the looks without a verdict that belong to no part, or to none so far."""
        found = {}
        for camera, entry, spot, is_stray in self._join.loose(now_ns):
            name = self._ledgers[camera].part(entry).part_id
            if spot != NOWHERE:
                rejected = self._stray_rejected if is_stray else None
                found[name] = Neighbour(name=name, position=spot, rejected=rejected)
        return found

    def _around(
        self, part: int, strays: Mapping[str, Neighbour], is_rejected: Callable[[int], bool | None]
    ) -> list[Neighbour]:
        """Return what lies around a part, each nearer than the gap to the next."""
        gap, parts, first = self._join.layout.min_gap, self._join.parts, self._ledgers[self._join.first]
        found: dict[str, Neighbour] = {}
        entries, edges = {part}, [parts.position(part)]
        while edges:
            edge = edges.pop()
            for entry in set(parts.within(edge, gap - 1)) - entries:
                entries.add(entry)
                edges.append(parts.position(entry))
                decided = entry < first.published
                rejected = self._rejected.get(entry, False) if decided else is_rejected(entry)
                name = first.part(entry).part_id
                found[name] = Neighbour(name=name, position=parts.position(entry), rejected=rejected)
            for name, stray in strays.items():
                if name not in found and abs(stray.position - edge) < gap:
                    found[name] = stray
                    edges.append(stray.position)
        return list(found.values())
