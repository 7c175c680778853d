"""Hearing a line from a program of one's own, over real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import zmq
from parts import ALARM, HEARTBEAT, VERDICT
from told import Line

from edge.errors import LineError
from edge.line.listener import Listener
from edge.subscriber import Subscriber
from edge.subscription import subscribe
from edge.wire import body_of


class Endpoint:
    """Publishes whatever it is told to, once a subscriber is there."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], folder: Path) -> None:
        self.name = f"ipc://{folder}/line.ipc"
        self._socket = context.socket(zmq.XPUB)
        self._socket.bind(self.name)

    def send(self, *messages: tuple[bytes, ...], subscriptions: int = 4) -> None:
        for _ in range(subscriptions):
            assert self._socket.poll(60_000)
            self._socket.recv()
        for parts in messages:
            self._socket.send_multipart(parts)


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[Endpoint]:
    with zmq.Context() as context:
        context.linger = 0
        made = Endpoint(context, tmp_path)
        yield made
        context.destroy()


def test_verdicts_heartbeats_and_alarms_come_in_order(endpoint: Endpoint) -> None:
    """Each as a whole, with its type."""
    heard = subscribe(endpoint.name)
    endpoint.send(
        (b"heartbeat.pcb", body_of(HEARTBEAT)),
        (b"alarm.pcb", body_of(ALARM)),
        (b"reject.pcb", body_of(VERDICT)),
    )
    assert [next(heard) for _ in range(3)] == [HEARTBEAT, ALARM, VERDICT]


def test_topics_choose_what_comes(endpoint: Endpoint) -> None:
    """A gate hears of the parts that it may open for and of the line's state, and of no rejected part."""
    heard = subscribe(endpoint.name, "accept.pcb", "heartbeat.pcb")
    rejected = msgspec.structs.replace(VERDICT, verdict="reject", reason="defect")
    endpoint.send(
        (b"reject.pcb", body_of(rejected)),
        (b"accept.pcb", body_of(VERDICT)),
        (b"heartbeat.pcb", body_of(HEARTBEAT)),
    )
    assert [next(heard), next(heard)] == [VERDICT, HEARTBEAT]


@pytest.mark.parametrize("endpoint", ["127.0.0.1:5571", "tcp://127.0.0.1:99999", "tcp://127.0.0.1", ""])
def test_an_endpoint_that_is_none_is_said(endpoint: str) -> None:
    """A mistyped address is an error at once, before anything is waited for."""
    with pytest.raises(LineError, match="is no endpoint") as raised:
        subscribe(endpoint)
    assert str(raised.value).startswith(repr(endpoint))


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ((b"reject.x",), "found 1 parts"),
        ((b"reject.x", b"text"), "not a verdict"),
        ((b"heartbeat.x", body_of(VERDICT)), "not a heartbeat"),
        ((b"reject.x", b"b", b"c"), "found 3 parts"),
        (
            (b"reject.x", body_of(msgspec.structs.replace(VERDICT, v=2))),
            "a verdict of version 2, expected 1: install",
        ),
        ((b"heartbeat.x", b'{"v": 2}'), "a heartbeat of version 2, expected 1: install"),
    ],
    ids=["one part", "text", "verdict as heartbeat", "three parts", "next version", "next heartbeat"],
)
def test_what_is_no_verdict_of_this_version_is_said(
    endpoint: Endpoint, parts: tuple[bytes, ...], told: str
) -> None:
    """The error names the endpoint, what is wrong with the message and what to do."""
    heard = subscribe(endpoint.name)
    endpoint.send(parts)
    with pytest.raises(LineError, match=told) as raised:
        next(heard)
    assert str(raised.value).startswith(f"{endpoint.name}: what comes from there is no verdict")


def test_silence_is_no_message(endpoint: Endpoint) -> None:
    """Who looks in between times gets an answer in time, and the next message later."""
    with Subscriber(endpoint.name) as subscriber:
        assert subscriber.hear(timeout_ms=1) is None
        endpoint.send((b"reject.pcb", body_of(VERDICT)), subscriptions=1)
        heard = subscriber.hear(timeout_ms=60_000)
    assert heard is not None
    assert (heard.topic, heard.body, heard.message) == (b"reject.pcb", body_of(VERDICT), VERDICT)


def test_the_supervisor_counts_each_verdict_once(endpoint: Endpoint) -> None:
    """A verdict that comes again after a restart of publish is not a part more."""
    line, passed_on = Line(), []
    again, second = (msgspec.structs.replace(VERDICT, **more) for more in ({"resent": True}, {"sequence": 8}))
    with Subscriber(endpoint.name) as subscriber:
        listener = Listener(subscriber, line.metrics, lambda heard: passed_on.append(heard.message))
        endpoint.send(
            *((b"accept.pcb", body_of(verdict)) for verdict in (VERDICT, again, second)), subscriptions=1
        )
        while second not in passed_on:
            listener.listen(60_000)
    assert passed_on == [VERDICT, second]
    assert line["parts_total verdict=pass reason=clean"] == 2
