"""Publish: one verdict for each part in the ledger, in order and before its deadline, whatever comes."""

from __future__ import annotations

import time
from collections.abc import Callable

import zmq

from ..judges.rules import Rules
from ..memory.ledger import Ledger
from ..memory.ring import Ring
from ..messages import Heartbeat, Part, Unknown
from ..wire import heartbeat_topic, verdict_bytes, verdict_from
from .inbox import Inbox
from .leftovers import Leftovers
from .liveness import TICK_MS, Liveness
from .state import State
from .subscribers import HEED_NS, Subscribers
from .verdict import Answer, Identity, Said, answer_of, record_of, resent, utc

PATIENCE_NS = 5_000_000_000  # with a source that failed and was opened anew, until it is trusted to be well
ALONE_NS = 200_000_000  # so long after a restart, subscribers have hardly come back: ZeroMQ tries every 100 ms
REJOIN_NS = 5_000_000_000  # so long after a restart, whoever subscribes was there before it


class Publisher:
    """Takes what the stages say of parts and gives out verdicts; no sockets, and the time is an argument."""

    def __init__(
        self,
        ring: Ring,
        ledger: Ledger,
        rules: Rules,
        identity: Identity,
        guard_ns: int,
        patience_ns: int = PATIENCE_NS,
    ) -> None:
        self._ring, self._ledger, self._rules = ring, ledger, rules
        self._identity, self._guard_ns = identity, guard_ns
        self._first = ledger.published
        self._answers: dict[int, tuple[Said, Answer]] = {}
        self._state = State(ledger.stages["capture"], patience_ns)

    def take(self, message: Said) -> None:
        """Note what a stage says of a part; a part that has its verdict already is passed over."""
        part = message.part
        if part.entry < self._ledger.published or part.entry in self._answers:
            return
        if isinstance(message, Unknown):
            self._answers[part.entry] = (message, Answer(message))
        else:
            self._answers[part.entry] = (message, answer_of(message, self._ring, self._rules))

    def wait_ns(self, now_ns: int) -> int:
        """How long nothing is due, if no message comes."""
        if self._ledger.published == self._ledger.captured:
            return TICK_MS * 1_000_000
        due_ns = self._ledger.part(self._ledger.published).deadline_ns - self._guard_ns
        return max(0, min(due_ns - now_ns, TICK_MS * 1_000_000))

    def next(self, clock: Callable[[], int], *, alone: bool = False) -> bytes | None:
        """The next part's verdict as `topic \\n body`, recorded in the ledger, or None if it can wait.

        What is judged waits only while the publisher is `alone`, since nobody would hear it in time.
        The caller sends it and then calls `sent`. A verdict that was recorded before a restart may have been
        sent then, so it comes again as it was, and says so.
        """
        entry = self._ledger.published
        if entry == self._ledger.captured:
            return None
        if (recorded := self._ledger.recorded(entry)) is not None:
            return resent(recorded)
        part = self._ledger.part(entry)
        answered = entry in self._answers
        if (alone or not answered) and clock() < part.deadline_ns - self._guard_ns:
            return None
        if answered:
            message, answer = self._answers[entry]
        else:
            late = Unknown(part=part, reason="late", detail=self._whereabouts(part), done_ns={})
            message, answer = late, Answer(late)
        record = record_of(message, answer, self._rules, self._identity, clock())
        if (now_ns := clock()) >= part.deadline_ns:  # it has passed while the verdict was made
            record = record_of(message, answer, self._rules, self._identity, now_ns)
        self._ledger.record(entry, record, now_ns)
        return record

    def sent(self, record: bytes) -> None:
        """The verdict is on the wire: the part is done and its slot free."""
        entry = self._ledger.published
        self._answers.pop(entry, None)
        self._state.note(verdict_from(record.partition(b"\n")[2]))
        self._ledger.set_published(entry)

    @property
    def is_done(self) -> bool:
        """Whether every part that was captured has its verdict."""
        return self._ledger.published == self._ledger.captured

    @property
    def is_successor(self) -> bool:
        """Whether another publisher was there before in this run."""
        return self._first > 0

    def again(self) -> list[bytes]:
        """The verdicts that a subscriber may have missed, whoever gave them out; marked as resent."""
        return [resent(record) for record in self._ledger.recorded_since(self._ledger.settled_ns)]

    def settle(self, now_ns: int) -> None:
        """Subscribers have had REJOIN_NS to come back: what was given out before that is heard."""
        self._ledger.settled_ns = now_ns - REJOIN_NS

    def heartbeat(self, now_ns: int) -> Heartbeat:
        """What is to be said of the line now."""
        state, reason = self._state.at(now_ns)
        judged, last = self._state.judged, self._state.last
        return Heartbeat(
            line=self._identity.line,
            state=state,
            reason=reason,
            part_id=judged.part_id if judged else None,
            judged_at=utc(time.time_ns() - (now_ns - judged.published_ns)) if judged else None,
            judged_ns=judged.published_ns if judged else None,
            published_ns=now_ns,
            parts=self._ledger.published,
            epoch=last.epoch if last else None,
            sequence=last.sequence if last else None,
        )

    def _whereabouts(self, part: Part) -> str:
        return f"no answer about part {part.part_id} came {self._guard_ns / 1e6:g} ms before its deadline"


def run_publish(
    liveness: Liveness,
    publisher: Publisher,
    inbox: Inbox[Said],
    socket: zmq.Socket[bytes],
    heartbeat_ns: int,
    left: Leftovers,
) -> None:
    """Give out verdicts and heartbeats on a XPUB socket until told to stop and all that is captured is out.

    A subscriber that comes hears a heartbeat at once. A publisher that was started anew then sends again what
    was given out of late, so that nobody misses a verdict over it; some get one twice, with the same part_id.
    So does the first one of a run with what killed runs have left.
    """
    beat_due_ns = time.monotonic_ns()
    alone_end_ns = beat_due_ns + ALONE_NS if publisher.is_successor else 0
    rejoin_end_ns = beat_due_ns + REJOIN_NS if publisher.is_successor or left.records else 0

    def send(record: bytes) -> None:
        topic, _, body = record.partition(b"\n")
        socket.send_multipart((topic, body))

    subscribers, heed_due_ns = Subscribers(socket), 0
    liveness.ready()
    while not (liveness.stopping and publisher.is_done):
        liveness.beat()
        now_ns = time.monotonic_ns()
        wait_ns = min(publisher.wait_ns(now_ns), max(0, min(beat_due_ns, heed_due_ns) - now_ns))
        if inbox.poll(-(-wait_ns // 1_000_000)) and (said := inbox.take()) is not None:
            publisher.take(said)
        alone = now_ns < alone_end_ns
        while (record := publisher.next(time.monotonic_ns, alone=alone)) is not None:
            send(record)
            publisher.sent(record)
        if (now_ns := time.monotonic_ns()) >= heed_due_ns:
            heed_due_ns = now_ns + HEED_NS
            if subscribers.came():
                beat_due_ns = 0
                for record in (*left.records, *publisher.again()) if now_ns < rejoin_end_ns else ():
                    send(record)
        if (now_ns := time.monotonic_ns()) >= rejoin_end_ns:
            publisher.settle(now_ns)
            left.settle(now_ns)
        if now_ns >= beat_due_ns:
            beat = publisher.heartbeat(now_ns)
            socket.send_multipart((heartbeat_topic(beat.line), verdict_bytes(beat)))
            beat_due_ns = now_ns + heartbeat_ns
