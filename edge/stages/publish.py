"""Publishes one verdict for each part in the ledger, in the order of the parts and before their deadlines."""

from __future__ import annotations

import time
from collections.abc import Callable

import zmq

from ..judges.rules import Rules
from ..memory.ledger import Ledger, Record
from ..memory.ring import Ring
from ..messages import Heartbeat
from ..wire import body_of, heartbeat_topic
from .inbox import Inbox
from .leftovers import Leftovers
from .liveness import TICK_MS, Liveness
from .state import State
from .subscribers import CHECK_NS, Subscribers
from .verdict import Finding, Identity, Reply, finding_of, held, late, record_of

#: A source that failed and was opened again counts as recovered after this time without another failure.
RECOVERY_NS = 5_000_000_000
#: After a restart, subscribers need this long to reconnect: ZeroMQ tries every 100 ms.
RECONNECT_NS = 200_000_000
#: A subscriber that comes within this time after a restart may have been connected before the restart too.
REJOIN_NS = 5_000_000_000


class Publisher:
    """Makes verdicts from the stages' replies, in the order of the parts. The caller sends the verdicts."""

    def __init__(
        self,
        ring: Ring,
        ledger: Ledger,
        rules: Rules,
        identity: Identity,
        guard_ns: int,
        state: State,
    ) -> None:
        self._ring, self._ledger, self._rules = ring, ledger, rules
        self._identity, self._guard_ns = identity, guard_ns
        self._first = ledger.published
        self._number = ledger.last_number
        self._findings: dict[int, Finding] = {}
        self._state = state

    def take(self, reply: Reply) -> None:
        """Keep a stage's reply about a part. Ignore the reply if the part has a verdict or an earlier reply."""
        entry = reply.part.entry
        if entry >= self._ledger.published and entry not in self._findings:
            self._findings[entry] = finding_of(reply, self._ring, self._rules)

    def wait_ns(self, now_ns: int) -> int:
        """Return the nanoseconds to wait for a reply before the next verdict is due: TICK_MS at most."""
        if self.is_done:
            return TICK_MS * 1_000_000
        due_ns = self._ledger.part(self._ledger.published).deadline_ns - self._guard_ns
        return max(0, min(due_ns - now_ns, TICK_MS * 1_000_000))

    def next(self, clock: Callable[[], int], *, unheard: bool = False) -> Record | None:
        """Record the next part's verdict in the ledger and return it. Return None if no verdict is due.

        The caller sends the verdict and then calls `sent`. `unheard` says that no subscriber would hear a
        verdict now. If so, even the verdict of a judged part is due only `guard_ns` before its deadline.
        A verdict that was recorded before a restart may have been sent already. Such a verdict is returned
        again, marked as resent.
        """
        if self.is_done:
            return None
        entry = self._ledger.published
        if (recorded := self._ledger.recorded(entry)) is not None:
            return recorded.resent()
        part, finding = self._ledger.part(entry), self._findings.get(entry)
        if (unheard or finding is None) and clock() < part.deadline_ns - self._guard_ns:
            return None
        if finding is None:
            guard_ms = self._guard_ns / 1e6
            finding = late(
                part, f"no answer about part {part.part_id} came {guard_ms:g} ms before its deadline"
            )
        if why := self._state.hold():
            finding = held(finding, why)
        self._number += 1
        record = record_of(finding, self._rules, self._identity, clock(), self._number)
        # The deadline may have passed while the verdict was made.
        if (now_ns := clock()) >= part.deadline_ns:
            record = record_of(finding, self._rules, self._identity, now_ns, self._number)
        self._ledger.record(entry, record)
        return record

    def sent(self, record: Record) -> None:
        """Note that the verdict from `next` was sent, which frees the part's slot."""
        entry = self._ledger.published
        self._findings.pop(entry, None)
        self._state.note(self._ledger.part(entry), record.reason, record.published_ns, record.number)
        self._ledger.set_published(entry)

    @property
    def is_done(self) -> bool:
        """Whether every captured part has its verdict."""
        return not self._ledger.waiting

    @property
    def is_successor(self) -> bool:
        """Whether an earlier publish process has published verdicts in this run."""
        return self._first > 0

    def again(self) -> list[Record]:
        """Return the verdicts of this run that a subscriber may have missed, marked as resent."""
        return [record.resent() for record in self._ledger.recorded_since(self._ledger.settled_ns)]

    def settle(self, now_ns: int) -> None:
        """Record that verdicts sent before `now_ns` - REJOIN_NS were heard, so that they are not sent again."""
        self._ledger.settled_ns = now_ns - REJOIN_NS

    def heartbeat(self, now_ns: int) -> Heartbeat:
        """Return the message that tells subscribers the line's state at `now_ns`."""
        return self._state.heartbeat(self._identity.line, self._ledger.published, now_ns)


def run_publish(
    liveness: Liveness,
    publisher: Publisher,
    inbox: Inbox[Reply],
    socket: zmq.Socket[bytes],
    heartbeat_ns: int,
    leftovers: Leftovers,
) -> None:
    """Send verdicts and heartbeats on an XPUB socket, which also tells when a subscriber comes.

    After the stop signal, it continues until every captured part has its verdict. A new subscriber gets a
    heartbeat at once. After a restart, a new subscriber also gets the recent verdicts again, marked as resent,
    so that nobody misses a verdict. The first publish process of a run sends the verdicts of killed runs in the
    same way.
    """
    heartbeat_due_ns = time.monotonic_ns()
    unheard_end_ns = heartbeat_due_ns + RECONNECT_NS if publisher.is_successor else 0
    rejoin_end_ns = heartbeat_due_ns + REJOIN_NS if publisher.is_successor or leftovers.records else 0
    subscribers, check_due_ns = Subscribers(socket), 0

    def send(record: Record) -> None:
        socket.send_multipart((record.topic, record.body))

    liveness.ready()
    while not (liveness.stopping and publisher.is_done):
        liveness.beat()
        now_ns = time.monotonic_ns()
        wait_ns = min(publisher.wait_ns(now_ns), max(0, min(heartbeat_due_ns, check_due_ns) - now_ns))
        if inbox.poll(-(-wait_ns // 1_000_000)) and (reply := inbox.take()) is not None:
            publisher.take(reply)
        unheard = now_ns < unheard_end_ns
        while (record := publisher.next(time.monotonic_ns, unheard=unheard)) is not None:
            send(record)
            publisher.sent(record)
        if (now_ns := time.monotonic_ns()) >= check_due_ns:
            check_due_ns = now_ns + CHECK_NS
            if subscribers.came():
                heartbeat_due_ns = 0
                for record in (*leftovers.records, *publisher.again()) if now_ns < rejoin_end_ns else ():
                    send(record)
        if (now_ns := time.monotonic_ns()) >= rejoin_end_ns:
            publisher.settle(now_ns)
            leftovers.settle(now_ns)
        if now_ns >= heartbeat_due_ns:
            heartbeat = publisher.heartbeat(now_ns)
            socket.send_multipart((heartbeat_topic(heartbeat.line), body_of(heartbeat)))
            heartbeat_due_ns = now_ns + heartbeat_ns
