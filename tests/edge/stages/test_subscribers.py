"""Publish knows how many subscriptions there are, also after subscribers came and went."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import zmq
from lines import until

from edge.stages.sockets import Sockets
from edge.stages.subscribers import Subscribers


@contextmanager
def subscriber(endpoint: str, *topics: str) -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        for topic in topics:
            socket.subscribe(topic)
        socket.connect(endpoint)
        yield socket


def counts(subscribers: Subscribers, expected: int) -> None:
    def reached() -> bool:
        subscribers.came()
        return subscribers.count == expected

    until(reached, f"{expected} subscriptions are counted", patience_s=10)


def test_each_subscription_counts_until_its_subscriber_is_gone(tmp_path: Path) -> None:
    """A successor waits until as many are back, so one of two with the same topics must not be overlooked."""
    endpoint = f"ipc://{tmp_path}/verdicts.ipc"
    with Sockets(tmp_path, b"") as sockets:
        subscribers = Subscribers(sockets.publisher((endpoint,)))
        with subscriber(endpoint, "reject.", "accept."):
            counts(subscribers, 2)
            with subscriber(endpoint, "reject.", "accept."):
                counts(subscribers, 4)
            counts(subscribers, 2)
            with subscriber(endpoint, "reject.") as leaving:
                counts(subscribers, 3)
                leaving.unsubscribe("reject.")
                counts(subscribers, 2)
        counts(subscribers, 0)
