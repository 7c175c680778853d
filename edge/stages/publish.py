"""Publishes one verdict for each part in the ledger, in the order of the parts and before their deadlines."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import zmq
from numpy.typing import NDArray

from ..memory.ledger import Record
from ..messages import Notice
from ..wire import body_of, heartbeat_topic
from .gate import Gate
from .inbox import Inbox
from .leftovers import Leftovers
from .liveness import Liveness
from .notices import Notices
from .publisher import REJOIN_NS, Publisher
from .subscribers import CHECK_NS, Subscribers
from .verdict import Reply

#: A source that failed and was opened again counts as recovered after this time without another failure.
RECOVERY_NS = 5_000_000_000
#: After a restart, subscribers need this long to reconnect at most: ZeroMQ tries after 100 to 200 ms.
RECONNECT_NS = 200_000_000
#: How often to look meanwhile whether all are back.
BACK_NS = 5_000_000


def run_publish(
    liveness: Liveness,
    publisher: Publisher,
    inbox: Inbox[Reply | Notice],
    socket: zmq.Socket[bytes],
    heartbeat_ns: int,
    leftovers: Leftovers,
    row: NDArray[Any],
    gate: Gate | None = None,
) -> None:
    """Send verdicts and heartbeats on an XPUB socket, which also tells when a subscriber comes.

    After the stop signal, it continues until every captured part has its verdict. Then, or as soon as the
    supervisor has ended capture, no part waits for a look that cannot come. A new subscriber gets a heartbeat
    at once. A Notice of the supervisor is sent as it is. After a restart, a new subscriber also gets
    the recent verdicts again, marked as resent, so that nobody misses a verdict. The first publish process of
    a run sends the verdicts of killed runs in the same way.

    `row` is the row of publish in the stages. It tells when capture ended, and it tells a successor how many
    subscriptions there were. Until so many are back, or for RECONNECT_NS, it sends only what is due.
    """
    heartbeat_due_ns = time.monotonic_ns()
    unheard_end_ns = heartbeat_due_ns + RECONNECT_NS if publisher.is_successor else 0
    rejoin_end_ns = heartbeat_due_ns + REJOIN_NS if publisher.is_successor or leftovers else 0
    subscribers, check_due_ns = Subscribers(socket, gate), 0
    before = int(row["subscriptions"][0])
    notices = Notices()
    ended_ns, is_owed = 0, False

    def send(record: Record) -> None:
        socket.send_multipart((record.topic, record.body))

    liveness.ready()
    while not (liveness.stopping and publisher.is_done):
        liveness.beat()
        now_ns = time.monotonic_ns()
        if not ended_ns and (ended_ns := int(row["ended_ns"][0]) or (now_ns if liveness.stopping else 0)):
            publisher.end(ended_ns)
        wait_ns = min(publisher.wait_ns(now_ns), max(0, min(heartbeat_due_ns, check_due_ns) - now_ns))
        if inbox.poll(-(-wait_ns // 1_000_000)) and (message := inbox.take()) is not None:
            if isinstance(message, Notice):
                if notices.take(message):
                    socket.send_multipart((message.topic, message.body))
            else:
                publisher.take(message)
        if not inbox.poll(0):
            publisher.give_up()
        unheard = now_ns < unheard_end_ns and subscribers.count < before
        while (record := publisher.next(time.monotonic_ns, unheard=unheard)) is not None:
            send(record)
            publisher.sent(record)
        if (now_ns := time.monotonic_ns()) >= check_due_ns:
            check_due_ns = now_ns + (BACK_NS if unheard else CHECK_NS)
            if subscribers.came():
                heartbeat_due_ns, is_owed = 0, True
                for notice in notices.again():
                    socket.send_multipart((notice.topic, notice.body))
            # Once for all who come back: everybody gets what is sent again.
            unheard = now_ns < unheard_end_ns and subscribers.count < before
            if not unheard:
                row["subscriptions"] = subscribers.count
            if is_owed and not unheard:
                is_owed = False
                for record in (*leftovers.take(), *publisher.again()) if now_ns < rejoin_end_ns else ():
                    send(record)
        if (now_ns := time.monotonic_ns()) >= rejoin_end_ns:
            publisher.settle(now_ns)
            leftovers.settle(now_ns)
        if now_ns >= heartbeat_due_ns:
            heartbeat = msgspec.structs.replace(publisher.heartbeat(now_ns), alarms=notices.alarms)
            socket.send_multipart((heartbeat_topic(heartbeat.line), body_of(heartbeat)))
            heartbeat_due_ns = now_ns + heartbeat_ns
