"""A network camera on the loopback: MJPEG over HTTP, a part whenever the test says so."""

from __future__ import annotations

import base64
import hashlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

BOUNDARY = b"--frame"
MULTIPART = "multipart/x-mixed-replace; boundary=frame"


def part(data: bytes, length: int | None = -1, kind: bytes = b"image/jpeg") -> bytes:
    """One part of the answer; with its true length, another one, or None."""
    told = b"" if length is None else b"Content-Length: %d\r\n" % (len(data) if length < 0 else length)
    return BOUNDARY + b"\r\nContent-Type: " + kind + b"\r\n" + told + b"\r\n" + data + b"\r\n"


class Camera:
    """Answers one request; `password`, of the user `admin`, is asked for if there is one, `digest` or plain."""

    def __init__(self, password: str, content_type: str, digest: bool) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._wanted = _authorization(password, digest) if password else b""
        self._challenge = b'Digest realm="camera", nonce="1"' if digest else b'Basic realm="camera"'
        self._type = content_type.encode()
        self.host = f"127.0.0.1:{self._server.getsockname()[1]}"
        self.address = f"http://{self.host}/stream"
        self._client: socket.socket | None = None
        self._accepted = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while not self._accepted.is_set():
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            asked = client.recv(4096)
            if self._wanted not in asked:
                client.sendall(b"HTTP/1.0 401 No\r\nWWW-Authenticate: " + self._challenge + b"\r\n\r\n")
                client.close()
                continue
            self._client = client
            client.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: " + self._type + b"\r\n\r\n")
            self._accepted.set()

    def send(self, *data: bytes) -> None:
        """Once somebody asked for the stream."""
        assert self._accepted.wait(60)
        assert self._client
        self._client.sendall(b"".join(data))

    def hang_up(self) -> None:
        assert self._accepted.wait(60)
        assert self._client
        self._client.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        if self._client:
            self._client.close()
        self._server.close()


def _authorization(password: str, digest: bool) -> bytes:
    """What a client has to send (RFC 7617; RFC 2617 without qop)."""

    def md5(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    if not digest:
        return b"Basic " + base64.b64encode(f"admin:{password}".encode())
    return md5(f"{md5(f'admin:camera:{password}')}:1:{md5('GET:/stream')}").encode()


@contextmanager
def camera(password: str = "", content_type: str = MULTIPART, digest: bool = False) -> Iterator[Camera]:
    """A camera while in the block."""
    one = Camera(password, content_type, digest)
    try:
        yield one
    finally:
        one.close()
