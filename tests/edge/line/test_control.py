"""The socket for commands: it answers requests, and nothing that is sent there ends or delays a line."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq
from control_flood import flooding_control
from lines import until

import edge.line.control
from edge.errors import LineError
from edge.line.control import MOST_AT_ONCE, REQUEST_BYTES, Control, NoKeys, answer_to


def echo(keys: dict[str, Any]) -> dict[str, Any]:
    return {"keys": keys}


def strict(keys: dict[str, Any]) -> dict[str, Any]:
    msgspec.convert(keys, NoKeys)
    return {}


def full(keys: dict[str, Any]) -> dict[str, Any]:
    raise OSError(28, "No space left on device", "/var/lib/\udcfcber")


def broken(keys: dict[str, Any]) -> dict[str, Any]:
    raise LineError("the line cannot do that")


COMMANDS = {"echo": echo, "strict": strict, "full": full, "broken": broken}


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    with Control(tmp_path / "control.ipc", COMMANDS) as opened:
        yield opened


@pytest.fixture
def client(tmp_path: Path, control: Control) -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.linger = 0
        socket.connect(f"ipc://{tmp_path}/control.ipc")
        yield socket


def answered(control: Control, client: zmq.Socket[bytes]) -> Any:
    """The next answer."""
    for _ in range(500):
        control.answer()
        if client.poll(10):
            return msgspec.json.decode(client.recv())
    raise AssertionError("no answer came")


def test_a_command_is_answered(control: Control, client: zmq.Socket[bytes]) -> None:
    """With what its function returns, which gets the other keys of the request."""
    client.send(b'{"command": "echo", "why": "cleaning"}')
    assert answered(control, client) == {"answer": {"keys": {"why": "cleaning"}}}


def test_only_the_user_can_open_the_socket(tmp_path: Path, control: Control) -> None:
    """Its mode is 0600, and it is gone when the line has ended."""
    path = tmp_path / "control.ipc"
    assert path.stat().st_mode & 0o777 == 0o600
    control.__exit__()
    assert not path.exists()


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        pytest.param(b"", "not a request", id="nothing"),
        pytest.param(b"status", "not a request", id="no JSON"),
        pytest.param(b"[1, 2]", "not a request", id="a list"),
        pytest.param(b"{}", "expected one of echo, strict, full, broken, found 'None'", id="no command"),
        pytest.param(b'{"command": ["echo"]}', "expected one of", id="a list as command"),
        pytest.param(b'{"command": "halt"}', "found 'halt'", id="unknown command"),
        pytest.param(b'{"command": "strict", "x": 1}', "unknown field `x`", id="unknown key"),
        pytest.param(b'{"command": "echo", "x": ' + b"[" * 30_000, "nested too deeply", id="nested deeply"),
        pytest.param(b'{"command": "\\ud800"}', "not a request", id="half a character"),
        pytest.param(b"\xff\xfe" * 100, "not a request", id="not UTF-8"),
        pytest.param(b'{"command": "full"}', "No space left on device", id="full disk"),
        pytest.param(b'{"command": "broken"}', "the line cannot do that", id="refused"),
    ],
)
def test_a_wrong_request_is_answered_with_what_is_wrong(request_: bytes, said: str) -> None:
    """And never ends the process."""
    answer = msgspec.json.decode(answer_to(request_, COMMANDS))
    assert said in answer["error"]
    assert set(answer) == {"error"}


def test_messages_that_are_no_requests_are_counted(
    tmp_path: Path, control: Control, client: zmq.Socket[bytes]
) -> None:
    """They get no answer, and the next request gets its own."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.connect(f"ipc://{tmp_path}/control.ipc")
        for frames in ([b"{}"], [b"", b"{}", b"{}"], [b"x", b"{}"], [b"", b""] * 50):
            dealer.send_multipart(frames)
        client.send(b'{"command": "echo"}')
        assert answered(control, client) == {"answer": {"keys": {}}}
        for _ in range(500):
            control.answer()
            if control.dropped == 4:
                break
            dealer.poll(10)
        assert control.dropped == 4
        assert not dealer.poll(0)


def test_a_request_that_is_too_long_is_not_read(tmp_path: Path, control: Control) -> None:
    """Its connection is closed; that of the others stays."""
    with zmq.Context() as context, context.socket(zmq.REQ) as long, context.socket(zmq.REQ) as short:
        for socket in (long, short):
            socket.linger = 0
            socket.connect(f"ipc://{tmp_path}/control.ipc")
        long.send(b'{"command": "echo", "x": "' + b"x" * REQUEST_BYTES + b'"}')
        short.send(b'{"command": "echo"}')
        assert answered(control, short) == {"answer": {"keys": {}}}
        control.answer()
        assert not long.poll(100)


def test_a_client_that_reads_no_answers_costs_the_line_nothing(
    tmp_path: Path, control: Control, client: zmq.Socket[bytes]
) -> None:
    """Answers never wait: a thousand of them to a deaf client leave the line free for others."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as deaf:
        deaf.linger, deaf.rcvhwm, deaf.rcvbuf = 0, 1, 1024
        deaf.connect(f"ipc://{tmp_path}/control.ipc")
        for _ in range(1000):
            deaf.send_multipart([b"", b'{"command": "echo", "x": "' + b"x" * 10_000 + b'"}'])
            control.answer()
        client.send(b'{"command": "echo"}')
        assert answered(control, client) == {"answer": {"keys": {}}}


def test_one_call_answers_a_limited_number_of_requests(tmp_path: Path) -> None:
    """So that a flood of requests cannot keep the supervisor from its stages."""
    seen: list[object] = []
    commands = {"echo": lambda keys: seen.append(keys) or {}}
    with Control(tmp_path / "control.ipc", commands) as control, zmq.Context() as context:
        context.setsockopt(zmq.LINGER, 0)
        clients = [context.socket(zmq.REQ) for _ in range(2 * MOST_AT_ONCE)]
        for client in clients:
            client.connect(f"ipc://{tmp_path}/control.ipc")
            client.send(b'{"command": "echo"}')
        for client in clients:
            while not client.poll(50):
                before = len(seen)
                control.answer()
                assert len(seen) - before <= MOST_AT_ONCE
        context.destroy()
    assert len(seen) == 2 * MOST_AT_ONCE


def test_a_client_cannot_fill_the_memory(
    tmp_path: Path, control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request without end, which libzmq keeps, is thrown away; others are answered again after it."""
    monkeypatch.setattr(edge.line.control, "MOST_GROWN", 10_000_000)
    path = tmp_path / "control.ipc"
    with flooding_control("unfinished", path):
        until(lambda: control.answer() or control.dropped >= 3, "the socket is made anew three times")
    assert path.stat().st_mode & 0o777 == 0o600
    monkeypatch.undo()
    with zmq.Context() as context, context.socket(zmq.REQ) as client:
        client.linger = 0
        client.connect(f"ipc://{path}")
        client.send(b'{"command": "echo"}')
        assert answered(control, client) == {"answer": {"keys": {}}}


def test_a_socket_that_cannot_be_made_again_is_tried_again(
    tmp_path: Path, control: Control, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The line goes on meanwhile, and says so once."""
    with monkeypatch.context() as patch:
        patch.setattr(edge.line.control, "MOST_GROWN", -(2**40))
        tmp_path.rename(moved := tmp_path.with_name("moved"))
        control.answer()
        control.answer()
        assert control.dropped == 1
        assert caplog.text.count("cannot make the control socket again") == 1
    moved.rename(tmp_path)
    with zmq.Context() as context, context.socket(zmq.REQ) as client:
        client.linger = 0
        client.connect(f"ipc://{tmp_path}/control.ipc")
        client.send(b'{"command": "echo"}')
        assert answered(control, client) == {"answer": {"keys": {}}}


def test_random_bytes_are_answered_or_dropped() -> None:
    """Thousands of random and of altered requests: each gets an answer, and none raises."""
    random_ = random.Random(7)
    good = b'{"command": "echo", "why": "cleaning", "n": [1, 2.5, null, {"a": true}]}'
    for _ in range(5000):
        data = bytearray(good if random_.random() < 0.7 else random_.randbytes(random_.randrange(80)))
        for _ in range(random_.randrange(1, 6)):
            at = random_.randrange(len(data) + 1)
            data[at : at + random_.randrange(3)] = random_.randbytes(random_.randrange(3))
        answer = msgspec.json.decode(answer_to(bytes(data), COMMANDS))
        assert set(answer) in ({"answer"}, {"error"})
