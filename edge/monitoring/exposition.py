"""Serves a line's metrics over HTTP. Limits the number of connections and how long each may stay open."""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from ..errors import LineError

log = logging.getLogger(__name__)

#: Most connections at the same time; a further connection closes the oldest.
CONNECTIONS = 32
#: Longest time from a connection to the end of its answer.
TIMEOUT_S = 2.0
REQUEST_BYTES = 8192
#: For this time, all requests get the same encoded answer.
FRESH_S = 0.1
TURN_S = 0.1


@contextlib.contextmanager
def serve_metrics(registry: CollectorRegistry, host: str, port: int) -> Iterator[int]:
    """Serve `registry` over HTTP during the `with` block. Yield the port. If `port` is 0, the system chooses.

    Raise LineError, whose text names the key `metrics.port`, if the address is not available.
    """
    with listening(host, port) as listener:
        server = _Server(registry, listener)
        thread = threading.Thread(target=server.run, name="metrics", daemon=True)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            server.stopping = True
            thread.join()


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens at the address. Raise LineError if the address is not available."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        listener = socket.create_server((host, port), family=found[0][0], backlog=128)
    except OSError as error:
        raise LineError(
            f"metrics.port: cannot serve metrics on {host}:{port}: {error.strerror or error}: "
            "give the line a free port of its own under [metrics] in its recipe, or 0 for no metrics"
        ) from error
    listener.setblocking(False)
    return listener


class _Client:
    """One connection: the request as far as it is received, and the answer that is still to be sent."""

    def __init__(self, opened: socket.socket) -> None:
        opened.setblocking(False)
        self.socket, self.end_s = opened, time.monotonic() + TIMEOUT_S
        self.request, self.answer = b"", b""


class _Server:
    """Serves all connections in one thread. It never waits for a single connection."""

    def __init__(self, registry: CollectorRegistry, listener: socket.socket) -> None:
        self._registry, self._listener = registry, listener
        # The oldest first.
        self._clients: dict[socket.socket, _Client] = {}
        self._fresh: dict[str, tuple[float, bytes]] = {}
        self.stopping = False

    def run(self) -> None:
        """Serve until `stopping` is True."""
        with selectors.DefaultSelector() as ready:
            self._ready = ready
            ready.register(self._listener, selectors.EVENT_READ)
            while not self.stopping:
                events = ready.select(TURN_S)
                for key, _ in events:
                    if client := self._clients.get(key.fileobj):  # type: ignore[call-overload]
                        self._attend(client)
                if any(key.fileobj is self._listener for key, _ in events):
                    self._accept()
                now_s = time.monotonic()
                for client in [client for client in self._clients.values() if client.end_s < now_s]:
                    self._close(client)
            for client in list(self._clients.values()):
                self._close(client)

    def _accept(self) -> None:
        """Accept at most one connection in each turn, so that open connections get their answers first."""
        try:
            client = _Client(self._listener.accept()[0])
        except BlockingIOError:
            return
        except OSError as error:
            # Too many files are open, or the connection is closed already.
            log.warning("metrics: cannot accept a connection: %s", error.strerror)
            time.sleep(TURN_S)
            return
        if len(self._clients) >= CONNECTIONS:
            self._close(next(iter(self._clients.values())))
        self._clients[client.socket] = client
        self._ready.register(client.socket, selectors.EVENT_READ)
        self._attend(client)

    def _attend(self, client: _Client) -> None:
        """Read the next bytes of a client's request, or send the next bytes of its answer."""
        try:
            if client.answer:
                client.answer = client.answer[client.socket.send(client.answer) :]
                done = not client.answer
            else:
                data = client.socket.recv(REQUEST_BYTES)
                client.request += data
                done = not data
                if b"\r\n\r\n" in client.request or len(client.request) > REQUEST_BYTES:
                    client.answer = self._answer(client.request)
                    self._ready.modify(client.socket, selectors.EVENT_WRITE)
        except BlockingIOError:
            return
        except OSError:
            done = True
        if done:
            self._close(client)

    def _close(self, client: _Client) -> None:
        del self._clients[client.socket]
        self._ready.unregister(client.socket)
        client.socket.close()

    def _answer(self, request: bytes) -> bytes:
        """Return the answer to a request. Every path gives the metrics."""
        first, *lines = request.decode("latin-1").split("\r\n")
        method = first.partition(" ")[0]
        if len(request) > REQUEST_BYTES or " HTTP/1." not in first:
            return _response("400 Bad Request", "text/plain", b"not an HTTP request\n")
        if method not in ("GET", "HEAD"):
            return _response("405 Method Not Allowed", "text/plain", b"use GET\n")
        heads = [line.partition(":") for line in lines]
        accepted = ", ".join(value.strip() for name, _, value in heads if name.lower() == "accept")
        encode, kind = choose_encoder(accepted)
        made_s, body = self._fresh.get(kind, (0.0, b""))
        if time.monotonic() - made_s > FRESH_S:
            try:
                body = encode(self._registry)
            except Exception:
                # A collector may raise anything. The client gets an error, and the server goes on.
                log.exception("metrics cannot be encoded")
                return _response("500 Internal Server Error", "text/plain", b"see the line's log\n")
            self._fresh = {kind: (time.monotonic(), body)}
        return _response("200 OK", kind, body, with_body=method == "GET")


def _response(status: str, kind: str, body: bytes, *, with_body: bool = True) -> bytes:
    lines = (f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", "Connection: close")
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode() + (body if with_body else b"")
