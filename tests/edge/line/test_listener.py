"""What the supervisor hears of its own line: it counts what it cannot read, and does not end by it."""

from __future__ import annotations

from pathlib import Path

import zmq
from prometheus_client import CollectorRegistry

from edge.line.listener import Listener
from edge.messages import Heartbeat
from edge.monitoring.metrics import Metrics
from edge.subscriber import Heard, Subscriber
from edge.wire import body_of

BEAT = Heartbeat(
    line="pcb", state="idle", part_id=None, judged_at=None, judged_ns=None, published_ns=1, parts=0
)


def test_what_is_no_message_is_counted_and_passed_over(tmp_path: Path) -> None:
    """Bytes that nobody should have published: the next heartbeat is heard."""
    heard: list[Heard] = []
    endpoint = f"ipc://{tmp_path}/verdicts.ipc"
    with zmq.Context() as context, context.socket(zmq.XPUB) as publisher, Subscriber(endpoint) as subscriber:
        publisher.linger = 0
        publisher.bind(endpoint)
        assert publisher.recv() == b"\x01"  # it has subscribed
        registry = CollectorRegistry()
        listener = Listener(subscriber, Metrics(registry, "pcb", 4, ("publish",)), heard.append)
        for frames in (
            [b"accept.pcb", b"{}"],
            [b"accept.pcb", b"[" * 50_000],
            [b"accept.pcb"],
            [b"", b"", b""],
            [b"heartbeat.pcb", body_of(BEAT)],
        ):
            publisher.send_multipart(frames)
        for _ in range(100):
            if heard:
                break
            listener.listen(100)
    assert listener.dropped == 4
    assert [each.message for each in heard] == [BEAT]
    assert listener.heartbeat == BEAT
