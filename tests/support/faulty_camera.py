"""A network camera that plays numbered pictures as MJPEG over HTTP, and goes wrong when it is told to."""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

import cv2
from account import PartId
from camera import MULTIPART, part
from numbered import BAD_NUMBERS, GOOD_NUMBERS, jpeg, picture

_HEAD = f"HTTP/1.0 200 OK\r\nContent-Type: {MULTIPART}\r\n\r\n".encode()
_NUMBERS = [number for pair in zip(GOOD_NUMBERS, BAD_NUMBERS, strict=True) for number in pair]


class FaultyCamera:
    """Serves one connection after another. `sent` has each one's numbers; None for a damaged picture."""

    def __init__(self, fps: float) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._server.getsockname()[1]}/stream"
        self.sent: list[list[int | None]] = []
        self.faults: deque[str] = deque()
        self.closing = threading.Event()
        self._fps = fps
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self.closing.set()
        self._server.close()

    def number_of(self, epochs: Iterable[int], part_id: PartId, source_ref: str) -> int | None:
        """The number of a part's picture; None if it is damaged. A connection with a frame begins an epoch."""
        connections = [numbers for numbers in self.sent if numbers]
        epoch, place = sorted(epochs).index(part_id[0]), int(source_ref.removeprefix("frame "))
        return connections[epoch][place - 1]

    def _serve(self) -> None:
        while not self.closing.is_set():
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            with client, suppress(OSError):
                client.recv(4096)
                client.sendall(_HEAD)
                self.sent.append([])
                self._play(client, self.sent[-1])

    def _play(self, client: socket.socket, sent: list[int | None]) -> None:
        """Send frames until the camera is closed or a fault ends the connection."""
        at = 0
        while not self.closing.wait(1 / self._fps):
            number = _NUMBERS[at % len(_NUMBERS)]
            whole = jpeg(number)
            fault = self.faults.popleft() if self.faults and sent else "none"
            sent.append(number if fault in ("none", "repeat") else None)
            if fault == "truncate":  # a picture that is complete for HTTP
                client.sendall(part(whole[: len(whole) // 2]))
            elif fault == "shorten":  # less than the head says
                client.sendall(part(whole[: len(whole) // 2], len(whole)))
            elif fault == "resize":
                large = cv2.resize(picture(number), (80, 64))
                client.sendall(part(cv2.imencode(".jpg", large)[1].tobytes()))
            elif fault == "noise":
                client.sendall(part(bytes(range(256)) * 8))
            elif fault == "disconnect":
                client.sendall(part(whole)[:-200])
                return
            elif fault == "stall":  # in the middle of a picture, until the line hangs up
                client.sendall(part(whole)[:-200])
                client.recv(1)
                return
            else:
                client.sendall(part(whole))
            at += fault != "repeat"  # then the next frame is this one again


@contextmanager
def faulty_camera(fps: float) -> Iterator[FaultyCamera]:
    """A camera while in the block."""
    one = FaultyCamera(fps)
    try:
        yield one
    finally:
        one.close()
