"""What the replay process answers, what it notes, and what it drops."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from published import A, B, Line, published

from edge.subscription.protocol import QUESTION_BYTES

PATIENCE_MS = 60_000


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    with published(tmp_path) as found:
        for _ in range(5):
            found.verdict()
        yield found


@pytest.fixture
def socket(line: Line) -> Iterator[zmq.Socket[bytes]]:
    """A socket as a program in any language would open it."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as opened:
        opened.linger = 0
        opened.connect(line.replay)
        yield opened


def asked(socket: zmq.Socket[bytes], **question: object) -> list[bytes]:
    socket.send(json.dumps(question).encode())
    assert socket.poll(PATIENCE_MS)
    return socket.recv_multipart()


def test_a_question_is_answered_with_what_was_published(line: Line, socket: zmq.Socket[bytes]) -> None:
    """A head in JSON, and then topic and body of each verdict; also to a REQ socket."""
    with line.answering():
        head, *parts = asked(socket, ask="replay", run=A, first=2, last=3)
        with socket.context.socket(zmq.REQ) as other:
            other.linger = 0
            other.connect(line.replay)
            assert asked(other, ask="replay", run=A, first=2, last=3) == [head, *parts]
    assert json.loads(head) == {
        "answer": "replay",
        "run": A,
        "upto": 3,
        "known": True,
        "ended": False,
        "then": "",
    }
    assert parts[::2] == [b"accept.board-a"] * 2
    assert [json.loads(body)["number"] for body in parts[1::2]] == [2, 3]


def test_an_unknown_run_is_said(line: Line, socket: zmq.Socket[bytes]) -> None:
    """Else a subscriber would ask for ever."""
    with line.answering():
        (head,) = asked(socket, ask="replay", run=B, first=1)
    assert json.loads(head)["known"] is False


def test_a_confirmation_is_noted_with_what_is_due(line: Line, socket: zmq.Socket[bytes]) -> None:
    """The number never falls, and is none that was not published. What is due tells how old it is."""
    with line.answering():
        for number, noted, due_ns in [(2, 2, 3000), (1, 2, 3000), (10**15, 5, 0)]:
            socket.send(json.dumps({"ask": "confirm", "name": "plc-1", "run": A, "number": number}).encode())
            head = json.loads(asked(socket, ask="confirmed", name="plc-1")[0])
            assert (head["run"], head["number"]) == (A, noted)
            assert line.confirmed["plc-1"].due_ns == due_ns
        line.verdict()
        asked(socket, ask="replay", run=A, first=6)
        assert line.confirmed["plc-1"].due_ns == 6000
    assert line.confirmed["plc-2"].number == 0
    assert line.confirmed["plc-2"].due_ns == 1000


@pytest.mark.parametrize(
    "question",
    [
        b"",
        b"hello",
        b"[" * 1000,
        b'{"ask": "replay"}',
        b'{"ask": "replay", "run": "a", "first": NaN}',
        b'{"ask": "replay", "run": "a", "first": 1, "more": 1}',
        b'{"ask": "replay", "run": 3, "first": 1}',
        b'{"ask": "shutdown"}',
        b'{"ask": "confirm", "name": "plc-3", "run": "a", "number": 1}',
    ],
)
def test_what_is_no_question_is_dropped_and_counted(
    line: Line, socket: zmq.Socket[bytes], question: bytes
) -> None:
    """The process goes on and answers the next one."""
    with line.answering():
        socket.send(question)
        assert len(asked(socket, ask="replay", run=A, first=1)) == 11
    assert int(line.row["dropped"][0]) == 1


def test_thousands_of_random_messages_do_nothing(line: Line, socket: zmq.Socket[bytes]) -> None:
    """Of any length and number of parts, and questions with some bytes changed. None confirms anything."""
    chance = random.Random(0)
    good = json.dumps({"ask": "replay", "run": A, "first": 1, "last": 3}).encode()
    with line.answering():
        for _ in range(2000):
            if chance.random() < 0.5:
                parts = [
                    chance.randbytes(chance.randrange(QUESTION_BYTES)) for _ in range(chance.randrange(1, 4))
                ]
            else:
                place = chance.randrange(len(good))
                parts = [good[:place] + chance.randbytes(2) + good[place + 2 :]]
            socket.send_multipart(parts)
        socket.send(json.dumps({"ask": "confirmed", "name": "plc-1"}).encode())
        while b'"confirmed"' not in (answer := socket.recv_multipart())[0]:
            assert answer
    assert int(line.row["dropped"][0]) > 1000
    assert [line.confirmed[name].number for name in line.confirmed] == [0, 0]


def test_each_of_many_subscribers_is_answered_at_its_first_question(line: Line) -> None:
    """Though all ask at once, each right after a confirmation. The short queue is that of one subscriber."""
    question = json.dumps({"ask": "replay", "run": A, "first": 1}).encode()
    confirmation = json.dumps({"ask": "confirm", "name": "plc-1", "run": A, "number": 1}).encode()
    with zmq.Context() as context:
        opened = [context.socket(zmq.DEALER) for _ in range(30)]
        for each in opened:
            each.linger = 0
            each.connect(line.replay)
            each.send(confirmation)
            each.send(question)
        with line.answering():
            for each in opened:
                assert each.poll(PATIENCE_MS)
                assert len(each.recv_multipart()) == 11
        context.destroy()


def test_a_subscriber_that_does_not_read_gets_no_more_than_it_can_hold(line: Line, tmp_path: Path) -> None:
    """And the others are answered meanwhile."""
    for _ in range(200):
        line.verdict()
    with line.answering(), zmq.Context() as context:
        deaf, other = context.socket(zmq.DEALER), context.socket(zmq.DEALER)
        deaf.rcvhwm = 1
        for opened in (deaf, other):
            opened.linger = 0
            opened.connect(line.replay)
        for _ in range(300):
            deaf.send(json.dumps({"ask": "replay", "run": A, "first": 1}).encode())
        for _ in range(3):
            assert len(asked(other, ask="replay", run=A, first=1)) > 20
        held = 0
        while deaf.poll(200):
            deaf.recv_multipart()
            held += 1
        context.destroy()
    assert held < 300
