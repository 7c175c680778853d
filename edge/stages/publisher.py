"""Decides the next verdict from what the stages answered, in the order of the parts, before their deadlines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec import UNSET

from ..belt.course import LONGEST_NS
from ..belt.join import Join
from ..belt.match import Station
from ..belt.places import NOWHERE
from ..belt.track import NEVER
from ..judges.rules import Rules
from ..memory.ledger import Ledger, Record
from ..memory.ring import Ring
from ..messages import Heartbeat, Refused
from .liveness import TICK_MS
from .looks import Seen, combined, looks_of, stray, taken_in, too_near
from .lost import LostParts
from .neighbours import Neighbours
from .state import State
from .verdict import (
    Finding,
    Identity,
    OnBelt,
    Reply,
    finding_of,
    held,
    is_accepted,
    late,
    lost,
    missing,
    record_of,
)

#: A subscriber that comes within this time after a restart may have been connected before the restart too.
REJOIN_NS = 5_000_000_000
#: On a belt, a part may be decided because the belt has moved on: look again after this time. A belt with an
#: encoder may change its speed meanwhile, and with it the deadlines.
BY_TIME_NS, BY_ENCODER_NS = 20_000_000, 5_000_000
#: The deadline that a verdict names while the belt stands, and there is none: this long after it was published.
STANDING_NS = 1_000_000_000
#: After capture has ended, answers are awaited so much longer than `deadline_ms`, however long the belt stands.
ANSWERS_NS = 3_000_000_000


class Publisher:
    """Makes verdicts from the stages' replies, in the order of the parts. The caller sends the verdicts.

    The first ledger's rows are the parts. With several cameras, a part has looks in the others. Once
    its verdict is recorded, its looks are recorded as taken, by records that name the part and have no topic. A
    look that belongs to no part gets a verdict of its own.
    """

    def __init__(
        self,
        rings: Mapping[str, Ring],
        ledgers: Mapping[str, Ledger],
        rules: Mapping[str, Rules],
        identity: Identity,
        guard_ns: int,
        state: State,
        join: Join,
        *,
        failed_ns: Callable[[], int] = int,
        ended: bool = False,
    ) -> None:
        """`failed_ns` returns when a process of the line was last found to have ended.

        `ended` says that the run of these ledgers has ended, so that nothing more comes to be known.
        """
        self._rings, self._ledgers, self._rules = rings, ledgers, rules
        self._identity, self._guard_ns = identity, guard_ns
        self._state, self._join, self._ended = state, join, ended
        self._first = ledgers[join.first]
        self._last_due_ns = NEVER
        self._had = sum(ledger.published for ledger in ledgers.values())
        self._number = max(ledger.last_number for ledger in ledgers.values())
        self._findings: dict[tuple[str, int], Finding] = {}
        self._lost = LostParts(ledgers, failed_ns)
        self._current = (join.first, 0)
        self._neighbours: Neighbours | None = None
        if join.layout.min_gap:
            self._neighbours = Neighbours(ledgers, join, stray_rejected="stray" not in identity.accepted)

    def take(self, reply: Reply) -> None:
        """Keep a stage's reply about a part. Ignore the reply if the part has a verdict or an earlier reply."""
        camera, entry = reply.part.camera, reply.part.entry
        self._lost.answered(reply.part)
        if entry >= self._ledgers[camera].published and (camera, entry) not in self._findings:
            self._findings[camera, entry] = finding_of(reply, self._rings[camera], self._rules[camera])

    def give_up(self) -> None:
        """Take it that no answer will come about a part whose process has ended.

        Call it when all replies that have come were taken.
        """
        for part in self._lost.found():
            self._findings.setdefault((part.camera, part.entry), lost(part))

    def _found(self, camera: str, entry: int) -> Finding | None:
        """Return what is known about a look; None if nothing is. Nobody answers about one that nobody saw."""
        part = self._ledgers[camera].part(entry)
        return missing(part) if part.is_missing else self._findings.get((camera, entry))

    def wait_ns(self, now_ns: int) -> int:
        """Return the nanoseconds to wait for a reply before the next verdict may be due: TICK_MS at most."""
        if self.is_done:
            return TICK_MS * 1_000_000
        self._join.update()
        most_ns = TICK_MS * 1_000_000
        if not self._join.is_plain:
            most_ns = BY_ENCODER_NS if self._join.layout.by_encoder else BY_TIME_NS
        if not self._first.waiting:
            return most_ns
        return max(0, min(self._due_ns(now_ns) - now_ns, most_ns))

    def _due_ns(self, now_ns: int) -> int:
        """Return when the next part has to be decided at the latest, as known at `now_ns`."""
        return min(self._join.due_ns(now_ns), self._last_due_ns) - self._guard_ns

    def end(self, now_ns: int) -> None:
        """Note that capture has ended, so that what a camera has not seen by now is missing.

        Each part that still waits then gets its verdict within `deadline_ms` and ANSWERS_NS.
        """
        self._join.end()
        self._last_due_ns = now_ns + self._join.layout.deadline_ns + ANSWERS_NS

    def next(self, clock: Callable[[], int], *, unheard: bool = False) -> Record | None:
        """Record the next verdict in the ledger of its part and return it. Return None if no verdict is due.

        The caller sends the verdict and then calls `sent`. `unheard` says that no subscriber would hear a
        verdict now. If so, even the verdict of a judged part is due only `guard_ns` before its deadline.
        A verdict that was recorded before a restart may have been sent already. Such a verdict is returned
        again, marked as resent.
        """
        self._join.update()
        if (recorded := self._recorded()) is not None:
            return recorded.resent()
        for station in self._join.stations:
            ledger = self._ledgers[station.name]
            is_stray = ledger.waiting and self._join.fate(ledger.published, station, clock()) == "stray"
            if is_stray and (record := self._stray(station, clock, unheard)) is not None:
                return record
        return self._next_part(clock, unheard) if self._first.waiting else None

    def _recorded(self) -> Record | None:
        """Return the verdict that was recorded and not counted, and mark the looks of its part as taken."""
        for camera, ledger in self._ledgers.items():
            while ledger.waiting and (recorded := ledger.recorded(ledger.published)) is not None:
                self._current = (camera, ledger.published)
                if recorded.topic:
                    if camera == self._join.first and self._join.stations:
                        others = set(self._ledgers) - {camera}
                        looks = {one: look for one, look in taken_in(recorded).items() if one in others}
                        self._mark(recorded, looks)
                    return recorded
                # It was marked, and not counted any more.
                self._findings.pop(self._current, None)
                ledger.set_published(ledger.published)
        return None

    def _mark(self, record: Record, taken: Mapping[str, int]) -> None:
        """Record that the part with this verdict took these looks, and count them, which frees their slots."""
        for camera, entry in taken.items():
            ledger = self._ledgers[camera]
            if ledger.published != entry:
                continue
            mark = Record(topic=b"", body=self._name().encode(), reason="", published_ns=record.published_ns)
            ledger.record(entry, mark)
            self._state.saw(ledger.part(entry))
            self._findings.pop((camera, entry), None)
            ledger.set_published(entry)

    def _name(self) -> str:
        camera, entry = self._current
        return self._ledgers[camera].part(entry).part_id

    def _stray(self, station: Station, clock: Callable[[], int], unheard: bool = False) -> Record | None:
        """Record the verdict of a station's next look, which belongs to no part. None if it can still wait."""
        ledger = self._ledgers[station.name]
        entry = ledger.published
        part, spot = ledger.part(entry), self._join.spot(entry, station)
        finding = self._found(station.name, entry)
        due_ns = min(self._join.deadline_ns(part, spot, clock()), self._last_due_ns) - self._guard_ns
        may_wait = unheard or (spot == NOWHERE and finding is None)
        if may_wait and not self._ended and clock() < due_ns:
            return None
        said = stray(part, finding, f"{station.name} saw it where no part was expected")
        self._current = (station.name, entry)
        return self._record(said, [Seen(camera=station.name, part=part, finding=said)], spot, clock)

    def _next_part(self, clock: Callable[[], int], unheard: bool) -> Record | None:
        """Record the verdict of the next part. None if it can still wait for what is not known yet."""
        entry, now_ns = self._first.published, clock()
        is_due = self._ended or now_ns >= self._due_ns(now_ns)
        if unheard and not is_due:
            return None
        if (seen := self._seen(entry, now_ns, is_due)) is None:
            return None
        for one, station in zip(seen[1:], self._join.stations, strict=True):
            # Looks keep their order, so those before a look that is taken belong to nobody.
            if one.part is not None and self._ledgers[station.name].published < one.part.entry:
                return self._stray(station, clock)
        finding = self._finding(entry, seen, now_ns)
        if self._neighbours and is_accepted(finding, finding.result, self._identity):
            near = self._neighbours.near(entry, now_ns, self._is_rejected, is_due=is_due)
            if near is True:
                return None
            if near:
                finding = too_near(finding, near)
        self._current = (self._join.first, entry)
        return self._record(finding, seen, self._join.parts.position(entry), clock)

    def _seen(self, entry: int, now_ns: int, is_due: bool) -> list[Seen] | None:
        """Return what each camera saw of a part. None if this may still change and the part is not due."""
        first, part = self._join.first, self._first.part(entry)
        finding = self._found(first, entry)
        if finding is None and not is_due:
            return None
        seen = [Seen(camera=first, part=part, finding=finding, refused=self._silent(part.part_id))]
        for station in self._join.stations:
            if not is_due and not self._join.is_settled(entry, station, now_ns):
                return None
            look = self._join.look(entry, station)
            if look is None:
                missing = Refused(reason="missing", detail="it saw nothing where the part had to come by")
                seen.append(Seen(camera=station.name, part=None, finding=None, refused=missing))
                continue
            finding, row = self._found(station.name, look), self._ledgers[station.name].part(look)
            if finding is None and not is_due:
                return None
            seen.append(Seen(camera=station.name, part=row, finding=finding, refused=self._silent(row.part_id)))
        return seen

    def _silent(self, part_id: str) -> Refused:
        if self._ended:
            return Refused(reason="late", detail="the line was ended before it had judged the part")
        guard_ms = self._guard_ns / 1e6
        return Refused(
            reason="late", detail=f"no answer about part {part_id} came {guard_ms:g} ms before its deadline"
        )

    def _finding(self, entry: int, seen: Sequence[Seen], now_ns: int) -> Finding:
        """Return what all cameras' looks give together."""
        unplaced = None
        is_known = self._join.is_known(self._join.parts.position(entry), now_ns)
        is_missing = seen[0].finding is not None and seen[0].finding.result.reason == "missing"
        if self._join.layout.by_encoder and not is_known and not is_missing:
            unplaced = Refused(reason="position", detail="the encoder does not tell where the part is")
        if unplaced is None and len(seen) == 1:
            (one,) = seen
            assert one.part is not None
            assert one.refused is not None
            return one.finding or late(one.part, one.refused.detail)
        return combined(seen, self._rules, unplaced)

    def _is_rejected(self, entry: int, now_ns: int) -> bool | None:
        """Return whether a part that has no verdict yet will be rejected; None if this is not known yet."""
        if (seen := self._seen(entry, now_ns, is_due=False)) is None:
            return None
        finding = self._finding(entry, seen, now_ns)
        return not is_accepted(finding, finding.result, self._identity)

    def _record(self, finding: Finding, seen: Sequence[Seen], spot: int, clock: Callable[[], int]) -> Record:
        """Record a verdict in the ledger of `_current`, and mark the looks that belong to it."""
        camera, entry = self._current
        ledger = self._ledgers[camera]
        if why := self._state.hold():
            finding = held(finding, why)
        self._number += 1

        def record_at(now_ns: int) -> Record:
            belt = self._on_belt(finding, seen, spot, now_ns)
            rules = self._rules[camera]
            most = ledger.record_bytes
            return record_of(finding, rules, self._identity, now_ns, self._number, belt, most)

        record = record_at(clock())
        # The deadline may have passed while the verdict was made.
        deadline_ns = self._join.deadline_ns(finding.reply.part, spot, now_ns := clock())
        if now_ns >= deadline_ns > record.published_ns:
            record = record_at(now_ns)
        ledger.record(entry, record)
        if self._neighbours:
            self._neighbours.note(camera, entry, spot, record)
        self._mark(record, {one.camera: one.part.entry for one in seen if one.part and one.camera != camera})
        return record

    def _on_belt(self, finding: Finding, seen: Sequence[Seen], spot: int, now_ns: int) -> OnBelt:
        layout, part = self._join.layout, finding.reply.part
        deadline_ns = self._join.deadline_ns(part, spot, now_ns)
        if deadline_ns > now_ns + LONGEST_NS:
            deadline_ns = max(part.deadline_ns, now_ns + STANDING_NS)
        if layout.eject_at is None and not layout.several:
            return OnBelt(deadline_ns=deadline_ns)
        eject_ns = self._join.eject_ns(spot, now_ns)
        standing = eject_ns is not None and eject_ns > now_ns + LONGEST_NS
        return OnBelt(
            deadline_ns=deadline_ns,
            looks=looks_of(seen, self._rules, finding) if layout.several else UNSET,
            eject_at_ns=UNSET if layout.eject_at is None else None if standing else eject_ns,
            tick=layout.tick(spot) if layout.by_encoder and layout.eject_at is not None else UNSET,
        )

    def sent(self, record: Record) -> None:
        """Note that the verdict from `next` was sent, which frees the part's slot."""
        camera, entry = self._current
        ledger = self._ledgers[camera]
        self._findings.pop(self._current, None)
        self._state.note(ledger.part(entry), record.reason, record.published_ns, record.number)
        ledger.set_published(entry)

    @property
    def is_done(self) -> bool:
        """Whether every captured part has its verdict."""
        return not any(ledger.waiting for ledger in self._ledgers.values())

    @property
    def is_successor(self) -> bool:
        """Whether an earlier publish process has published verdicts in this run."""
        return self._had > 0

    def again(self) -> list[Record]:
        """Return the verdicts of this run that a subscriber may have missed, marked as resent."""
        ledgers = self._ledgers.values()
        found = [record for ledger in ledgers for record in ledger.recorded_since(ledger.settled_ns)]
        verdicts = sorted((one for one in found if one.topic), key=lambda record: record.number)
        return [record.resent() for record in verdicts]

    def settle(self, now_ns: int) -> None:
        """Record that verdicts sent before `now_ns` - REJOIN_NS were heard, so that they are not sent again."""
        for ledger in self._ledgers.values():
            ledger.settled_ns = now_ns - REJOIN_NS

    def heartbeat(self, now_ns: int) -> Heartbeat:
        """Return the message that tells subscribers the line's state at `now_ns`."""
        return self._state.heartbeat(self._identity.line, self._number, now_ns)
