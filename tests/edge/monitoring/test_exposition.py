"""The metrics' server answers whoever asks, whatever else is connected to it."""

from __future__ import annotations

import select
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from lines import until
from prometheus_client import CollectorRegistry, Gauge

from edge.monitoring.exposition import CONNECTIONS, serve_metrics


@pytest.fixture
def gauge() -> Gauge:
    return Gauge("thing", "A thing.", registry=None)


@pytest.fixture
def port(gauge: Gauge) -> Iterator[int]:
    registry = CollectorRegistry()
    registry.register(gauge)
    with serve_metrics(registry, "127.0.0.1", 0) as found:
        yield found


def asked(port: int, request: bytes) -> bytes:
    """All that comes back on a connection of its own."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as opened:
        opened.sendall(request)
        said = b""
        while data := opened.recv(65536):
            said += data
        return said


def test_an_answer_is_as_fresh_as_it_has_to_be(port: int, gauge: Gauge) -> None:
    """Scrapes that come together are one; the next one tells what is so then."""
    gauge.set(1)
    assert b"\nthing 1.0\n" in asked(port, b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
    gauge.set(2)
    until(lambda: b"\nthing 2.0\n" in asked(port, b"GET /metrics HTTP/1.0\r\n\r\n"), "the value is fresh")


def test_openmetrics_are_told_to_who_reads_them(port: int) -> None:
    """Prometheus asks for them; others get plain text."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/", headers={"Accept": "application/openmetrics-text"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
        assert answer.read().endswith(b"# EOF\n")


@pytest.mark.parametrize(
    ("request_", "begin"),
    [
        (b"HEAD / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n"),
        (b"POST / HTTP/1.1\r\n\r\n", b"HTTP/1.1 405 "),
        (b"nonsense\r\n\r\n", b"HTTP/1.1 400 "),
        (b"GET /" + b"a" * 9000, b"HTTP/1.1 400 "),
        (b"\xff\x00\r\n\r\n", b"HTTP/1.1 400 "),
    ],
    ids=["head alone", "a form", "no HTTP", "too long", "bytes"],
)
def test_whatever_is_asked_has_its_answer(port: int, request_: bytes, begin: bytes) -> None:
    """What is no request for metrics is told so, in a line."""
    said = asked(port, request_)
    assert said.startswith(begin)
    assert said.partition(b"\r\n\r\n")[2].count(b"\n") <= 1


def test_a_request_may_come_in_pieces(port: int) -> None:
    """A slow network is no fault."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as opened:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in (b"GET / HT", b"TP/1.1\r\n", b"\r", b"\n"):
            opened.sendall(piece)
        assert opened.recv(15) == b"HTTP/1.1 200 OK"


def test_idle_connections_keep_nobody_out(port: int) -> None:
    """Ten times as many as there is room for; the oldest go, and soon all of them."""
    idle = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(10 * CONNECTIONS)]
    assert asked(port, b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200 OK")
    assert len(select.select(idle, [], [], 0)[0]) > 8 * CONNECTIONS  # were ended to make room
    assert all(opened.recv(1) == b"" for opened in idle)
    for opened in idle:
        opened.close()


def test_a_collector_that_fails_is_told_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Who asks reads of it, and the next one is served."""
    registry = CollectorRegistry()
    broken = Gauge("broken", "It.", registry=registry)
    broken.set_function(lambda: 1 / 0)
    with serve_metrics(registry, "127.0.0.1", 0) as port:
        for _ in range(2):
            with pytest.raises(urllib.error.HTTPError, match="500"):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30)
    assert "metrics cannot be encoded" in caplog.text
