"""Programs on the same machine that flood a line's ports take no verdict from those who listen."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Iterator

import floods
import pytest
import zmq
from floods import FLOODS, flooding, judged, line_on_ports
from lines import RunningLine, stop, until

import edge.stages.subscribers
from edge.errors import LineError
from edge.messages import Verdict
from edge.stages.sockets import TOPIC_BYTES
from edge.stages.subscribers import Subscribers
from edge.subscriber import Subscriber

PATIENCE_MS = 60_000
FPS, PARTS = 50.0, 100
COMMON = ("subscriptions", "large_topic", "idle_scrapers")


@pytest.fixture(scope="module")
def flooded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningLine, int, int]]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (500, limits[1]))  # as few as most systems give at first
    try:
        with line_on_ports(tmp_path_factory.mktemp("line"), FPS) as found:
            yield found
            stop(found[0])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize(
    "name",
    [
        name if name in COMMON else pytest.param(name, marks=pytest.mark.slow)
        for name in FLOODS
        if name != "frames"
    ],
)
def test_a_flood_takes_no_verdict_away(flooded: tuple[RunningLine, int, int], name: str) -> None:
    """Who subscribes while a neighbour floods hears every verdict from then on, and parts are judged."""
    line, publish, metrics = flooded
    before = line.pid("publish")
    with flooding(name, publish, metrics):
        until(lambda: judged(publish, 0.1), "the flood has begun", line)
        found = verdicts(publish, PARTS)
    numbers = [verdict.number for verdict in found]
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    # A busy machine has no time or no slot for some; benchmarks/neighbours.py counts them.
    assert {verdict.reason for verdict in found} <= {"clean", "late", "overrun"}
    assert line.pid("publish") == before


def verdicts(publish: int, count: int) -> list[Verdict]:
    """What a subscriber that comes now hears until so many parts have been judged."""
    with Subscriber(f"tcp://127.0.0.1:{publish}", ("reject.", "accept.")) as subscriber:
        found: list[Verdict] = []
        while sum(verdict.verdict != "unknown" for verdict in found) < count:
            heard = subscriber.hear(PATIENCE_MS)
            assert heard is not None, f"silence after {len(found)} verdicts"
            assert isinstance(heard.message, Verdict)
            found.append(heard.message)
        return found


def heed(socket: zmq.Socket[bytes], subscribers: Subscribers) -> None:
    """Until nothing more comes."""
    while socket.poll(1000):
        subscribers.came()


def test_more_topics_than_any_crowd_has_end_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """What libzmq keeps for them cannot grow for ever; those that are taken back do not count."""
    monkeypatch.setattr(edge.stages.subscribers, "MOST_TOPICS", 100)
    with zmq.Context() as context, context.socket(zmq.XPUB) as socket, context.socket(zmq.SUB) as other:
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        other.connect(f"tcp://127.0.0.1:{port}")
        subscribers = Subscribers(socket)
        other.subscribe(b"first")
        until(subscribers.came, "the first is heard")
        for number in range(300):
            other.subscribe(b"%d" % number)
            other.unsubscribe(b"%d" % number)
        other.subscribe(b"last")
        heed(socket, subscribers)
        for number in range(101):
            other.subscribe(b"%d" % number)
        with pytest.raises(LineError, match="more than 100 topics"):
            heed(socket, subscribers)


def heed_for(seconds: float, subscribers: Subscribers) -> None:
    """As often as publish does; meanwhile libzmq reads."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        subscribers.came()
        time.sleep(0.05)


def test_a_message_without_end_ends_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """libzmq would keep its frames until the machine has no memory left; a new process begins without them."""
    monkeypatch.setattr(edge.stages.subscribers, "MOST_GROWN", 30_000_000)
    with zmq.Context() as context, context.socket(zmq.XPUB) as socket:
        socket.maxmsgsize = TOPIC_BYTES
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        subscribers = Subscribers(socket)
        command = [sys.executable, floods.__file__, "frames", str(port), "0"]
        with subprocess.Popen(command) as flood:
            try:
                with pytest.raises(LineError, match="a message without end"):
                    heed_for(60, subscribers)
            finally:
                flood.kill()


@pytest.mark.parametrize("stage", ["publish", "capture", "infer"])
def test_a_supervisor_that_may_open_no_file_goes_on(flooded: tuple[RunningLine, int, int], stage: str) -> None:
    """A stage that cannot be started is started once there is room."""
    line, publish, _ = flooded
    pid = line.process.pid
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    before = line.pid(stage)
    # Those below it are open. The system polls no more descriptors than that, and libzmq ends by it.
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (12, limits[1]))
    try:
        line.kill(stage)
        line.says(f"{stage}: cannot be started: ")
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    until(lambda: line.pid(stage) != before, f"{stage} is back", line)
    until(lambda: judged(publish, 0.2), "parts are judged again", line)


def test_a_line_may_open_what_the_system_grants(flooded: tuple[RunningLine, int, int]) -> None:
    """A crowd of subscribers is no lack of descriptors."""
    line, _, _ = flooded
    for pid in (line.process.pid, line.pid("publish")):
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        assert soft == min(hard, 65_536)
