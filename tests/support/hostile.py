"""Peers that mean harm: what they send to a line's sockets, and connections that never say who they are."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import msgspec
import zmq
from floods import GREETING

from edge.messages import Message, Part, Tensor, Unknown
from edge.wire import VERSION, pack

#: What a forged message says, so that a verdict made of it shows.
FORGED = "forged"


def messages(rng: random.Random, part: Part, run: bytes) -> Iterator[bytes]:
    """Endless messages for an inbox that no stage of the run `run` has sent; `part` is one of its parts."""
    while True:
        other_run = rng.randbytes(len(run))
        other_part = msgspec.structs.replace(
            part,
            **{
                rng.choice(("epoch", "sequence", "captured_ns", "deadline_ns", "generation")): rng.randrange(
                    2**40
                )
            },
        )
        forged: list[Message] = [
            Unknown(part=each, reason="engine", detail=FORGED, done_ns={}) for each in (part, other_part)
        ]
        whole = pack(forged[1], run)
        at = rng.randrange(1 + len(run), len(whole))
        yield from (
            b"",
            rng.randbytes(rng.randrange(1, 300)),
            bytes((VERSION,)) + run + rng.randbytes(rng.randrange(1, 300)),
            pack(forged[0], other_run),
            whole,
            whole[:at],
            whole[:at] + rng.randbytes(1) + whole[at + 1 :],
            pack(Tensor(part=other_part, inputs=(), done_ns={}), run),
        )


def send_to_inbox(path: Path, rng: random.Random, part: Part, run: bytes, count: int) -> None:
    """Send so many such messages to the inbox at `path`."""
    endless = messages(rng, part, run)
    with zmq.Context() as context, context.socket(zmq.PUSH) as sender:
        sender.connect(f"ipc://{path}")
        for _ in range(count):
            sender.send(next(endless))


def send_requests(path: Path, rng: random.Random, count: int) -> int:
    """Send requests that are none to the control socket at `path`; returns how many an error answered."""
    errors = 0
    with zmq.Context() as context, context.socket(zmq.DEALER) as sender:
        sender.linger = 0
        sender.connect(f"ipc://{path}")
        for number in range(count):
            noise = rng.randbytes(rng.randrange(200))
            kinds = (noise, b'{"command": "' + noise.hex().encode() + b'"}', b"[" * 5000, b'{"command": 5}')
            sender.send_multipart([b"", kinds[number % len(kinds)]])
            if sender.poll(60_000):
                errors += sender.recv_multipart()[1].startswith(b'{"error"')
    return errors


def send_questions(path: Path, rng: random.Random, count: int) -> bool:
    """Send questions that are none to the replay socket at `path`; returns whether a true one has an answer."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as sender:
        sender.connect(f"ipc://{path}")
        for number in range(count):
            noise = rng.randbytes(rng.randrange(200))
            kinds = (noise, b'{"ask": "replay", "run": "' + noise.hex().encode() + b'"}', b"[" * 500)
            sender.send_multipart([b"", kinds[number % len(kinds)]])
        sender.send_multipart([b"", b'{"ask": "confirmed", "name": "nobody"}'])
        return bool(sender.poll(30_000)) and sender.recv_multipart()[1].startswith(b'{"answer"')


def _connected(address: Path | int) -> socket.socket:
    if isinstance(address, int):
        return socket.create_connection(("127.0.0.1", address), timeout=60)
    opened = socket.socket(socket.AF_UNIX)
    opened.settimeout(60)
    try:
        opened.connect(str(address))
    except OSError:
        opened.close()
        raise
    return opened


@contextmanager
def half_greetings(address: Path | int, count: int) -> Iterator[None]:
    """Hold so many connections to a socket or a port open, each with half a greeting, while in the block."""
    with ExitStack() as opened:
        for _ in range(count):
            with suppress(OSError):  # the other side may take no more of them
                one = opened.enter_context(_connected(address))
                one.sendall(GREETING[:32])
        yield


def send_noise(address: Path | int, rng: random.Random, count: int) -> None:
    """Connect so many times to a socket or a port, and send bytes that begin as a greeting does or do not."""
    for number in range(count):
        with suppress(OSError), _connected(address) as one:
            one.sendall((GREETING if number % 2 else b"") + rng.randbytes(2000))
