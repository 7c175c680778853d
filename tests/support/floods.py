"""Neighbours that behave badly: programs on the same machine that flood a line's sockets, each a process.

`python floods.py NAME PUBLISH METRICS` floods the two ports of 127.0.0.1 until it is ended.
"""

from __future__ import annotations

import contextlib
import itertools
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import zmq
from bundles import KINDS, comparator_manifest
from lines import RunningLine, running, write_boards, write_recipe
from ports import free_port

from edge.bundle import write_manifest
from edge.wire import verdict_from

#: What a subscriber says first, by ZMTP 3.0 (rfc.zeromq.org/spec/23): who it is, and that it is a SUB.
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB"


def _connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=5)


def _subscriber(port: int) -> socket.socket:
    opened = _connected(port)
    opened.sendall(GREETING + READY)
    return opened


#: What floods a line, by name; each takes the ports of verdicts and of metrics, and never ends.
FLOODS: dict[str, Callable[[int, int], None]] = {}


def endless(flood: Callable[[int, int], None]) -> None:
    """Add a flood to `FLOODS` that begins again whenever it ends or the other side ends it."""

    def again(publish: int, metrics: int) -> None:
        while True:
            with contextlib.suppress(OSError):
                flood(publish, metrics)

    FLOODS[flood.__name__] = again


@endless
def subscriptions(publish: int, metrics: int) -> None:
    """Millions of topics from one connection."""
    with _subscriber(publish) as opened:
        for number in itertools.count(step=1000):
            topics = [b"\x01%d" % (number + at) + b"." * 45 for at in range(1000)]
            opened.sendall(b"".join(bytes((0, len(topic))) + topic for topic in topics))


@endless
def large_topic(publish: int, metrics: int) -> None:
    """Topics of 30 MB."""
    topic = bytes(30_000_000)
    with _subscriber(publish) as opened:
        while True:
            opened.sendall(b"\x02" + (len(topic) + 1).to_bytes(8, "big") + b"\x01" + topic)


@endless
def frames(publish: int, metrics: int) -> None:
    """One message whose last frame never comes. The process that gets it is replaced."""
    frame = b"\x01\x28\x01" + b"." * 39  # another one follows, 40 bytes, a subscription
    with _subscriber(publish) as opened:
        while True:
            opened.sendall(frame * 1000)


@endless
def deaf(publish: int, metrics: int) -> None:
    """Subscribers that never read."""
    kept = [_subscriber(publish) for _ in range(50)]
    for opened in kept:
        opened.sendall(b"\x00\x01\x01")
    time.sleep(3600)


def _silent(port: int) -> None:
    kept = []
    with contextlib.suppress(OSError):
        for _ in range(3000):
            kept.append(_connected(port))
    time.sleep(3600)


@endless
def silent(publish: int, metrics: int) -> None:
    """Connections to the verdicts' port that say nothing."""
    _silent(publish)


@endless
def fleeting(publish: int, metrics: int) -> None:
    """Subscribers that come and go as fast as they can."""
    with _subscriber(publish) as opened:
        opened.sendall(b"\x00\x01\x01")


@endless
def noise(publish: int, metrics: int) -> None:
    """Bytes that no subscriber sends."""
    with _connected(publish) as opened:
        opened.sendall(b"GET / HTTP/1.1\r\n\r\n" * 1000)


@endless
def idle_scrapers(publish: int, metrics: int) -> None:
    """Connections to the metrics that ask for nothing."""
    _silent(metrics)


@endless
def slow_scrapers(publish: int, metrics: int) -> None:
    """Requests that come letter by letter and never end."""
    kept = [_connected(metrics) for _ in range(200)]
    while True:
        for opened in kept:
            with contextlib.suppress(OSError):
                opened.sendall(b"G")
        time.sleep(0.1)


@endless
def scrapers(publish: int, metrics: int) -> None:
    """Requests as fast as they are answered."""
    with _connected(metrics) as opened:
        opened.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        while opened.recv(65536):
            pass


@contextlib.contextmanager
def flooding(name: str, publish: int, metrics: int) -> Iterator[None]:
    """Have a neighbour flood these ports, as a process of its own, while in the block."""
    process = subprocess.Popen([sys.executable, __file__, name, str(publish), str(metrics)])
    try:
        yield
        assert process.poll() is None, f"{name} ended"
    finally:
        process.kill()
        process.wait()


def judged(publish: int, seconds: float) -> set[int]:
    """The sequence numbers of the parts that a subscriber that comes now hears to be judged in that time."""
    with zmq.Context() as context, context.socket(zmq.SUB) as subscriber:
        subscriber.linger = 0
        subscriber.subscribe(b"reject.")
        subscriber.subscribe(b"accept.")
        subscriber.connect(f"tcp://127.0.0.1:{publish}")
        subscriber.poll(5000)  # for the first, from which on the time counts
        end_s, parts = time.monotonic() + seconds, set[int]()
        while (left_s := end_s - time.monotonic()) > 0:
            if subscriber.poll(max(1, round(left_s * 1000))):
                verdict = verdict_from(subscriber.recv_multipart()[1])
                if verdict.verdict != "unknown":
                    parts.add(verdict.sequence)
        return parts


@contextlib.contextmanager
def line_on_ports(folder: Path, fps: float, more: str = "") -> Iterator[tuple[RunningLine, int, int]]:
    """A line without end whose engine costs nothing, and its ports for verdicts and metrics.

    `more` are further keys of [publish].
    """
    picture = np.random.default_rng(7).integers(20, 180, (64, 64)).astype(np.uint8)
    source = write_boards(folder, {"0": True, "1": True}, cv2.GaussianBlur(picture, (0, 0), 2))
    bundle, (publish, metrics) = folder / "constant", (free_port(), free_port())
    bundle.mkdir()
    write_manifest(bundle, comparator_manifest(KINDS, name="constant", method="constant", metadata={}))
    recipe = write_recipe(folder, bundle, f"{source}\nfps = {fps}\nrepeat = true")
    text = recipe.read_text().replace(f"ipc://{folder}/verdicts.ipc", f"tcp://127.0.0.1:{publish}")
    text = text.replace("port = 0", f"port = {metrics}").replace("[publish]", f"[publish]\n{more}")
    recipe.write_text(text)
    with running(recipe) as line:
        line.pid("capture")
        yield line, publish, metrics


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    FLOODS[sys.argv[1]](int(sys.argv[2]), int(sys.argv[3]))
