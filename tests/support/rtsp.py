"""A network camera on the loopback: H.264 over RTSP (RFC 2326, RFC 6184), all in one TCP connection."""

from __future__ import annotations

import base64
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

FRAGMENT = 60  # bytes of a frame in one RTP packet
Keep = Callable[[int, int], bool]


class RtspCamera:
    """Plays Annex B access units, a frame each, again and again; `keep(frame, fragment)` says what is sent."""

    def __init__(self, frames: Sequence[bytes], keep: Keep) -> None:
        self._frames, self._keep = frames, keep
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"rtsp://admin:hidden@127.0.0.1:{self._server.getsockname()[1]}/live"
        self.closing = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self.closing.set()
        self._server.close()

    def _serve(self) -> None:
        try:
            client, _ = self._server.accept()
            with client, client.makefile("rb") as reader:
                while (asked := self._answer(client, reader)) and asked != "PLAY":
                    pass
                if asked:
                    self._play(client)
        except OSError:
            return

    def _answer(self, client: socket.socket, reader: object) -> str:
        lines = []
        while (line := reader.readline().decode().strip()) or not lines:  # type: ignore[attr-defined]
            if not line:
                return ""
            lines.append(line)
        method = lines[0].split()[0]
        number = next(line for line in lines if line.lower().startswith("cseq"))
        more, body = ["Session: 1"], ""
        if method == "DESCRIBE":
            body = self._description()
            more = ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
        elif method == "SETUP":
            more += ["Transport: RTP/AVP/TCP;unicast;interleaved=0-1"]
        elif method == "OPTIONS":
            more = ["Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"]
        client.sendall("\r\n".join(["RTSP/1.0 200 OK", number, *more, "", body]).encode())
        return method

    def _description(self) -> str:
        units = [unit for unit in units_of(self._frames[0]) if unit[0] & 31 in (7, 8)]
        sets = ",".join(base64.b64encode(unit).decode() for unit in units)
        return (
            "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=live\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
            f"a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;sprop-parameter-sets={sets}\r\n"
            "a=framerate:25\r\na=control:track1\r\n"
        )

    def _play(self, client: socket.socket) -> None:
        sequence = frame = 0
        while not self.closing.wait(0.01):
            payloads = [
                part for unit in units_of(self._frames[frame % len(self._frames)]) for part in parts_of(unit)
            ]
            for number, payload in enumerate(payloads):
                last = number == len(payloads) - 1
                head = struct.pack(">BBHII", 0x80, 96 | last << 7, sequence & 0xFFFF, 3600 * frame, 1)
                sequence += 1
                if self._keep(frame, number):
                    client.sendall(b"$\0" + struct.pack(">H", len(head + payload)) + head + payload)
            frame += 1


def units_of(data: bytes) -> list[bytes]:
    """NAL units between start codes."""
    return [unit.rstrip(b"\0") for unit in re.split(rb"\x00\x00\x01", data) if unit.rstrip(b"\0")]


def parts_of(unit: bytes) -> Iterator[bytes]:
    """A NAL unit as payloads: whole if it is small, else in fragments (FU-A)."""
    if len(unit) <= FRAGMENT:
        yield unit
        return
    body = unit[1:]
    for at in range(0, len(body), FRAGMENT):
        start, end = at == 0, at + FRAGMENT >= len(body)
        yield bytes([unit[0] & 0xE0 | 28, start << 7 | end << 6 | unit[0] & 31]) + body[at : at + FRAGMENT]


@contextmanager
def rtsp_camera(frames: Sequence[bytes], keep: Keep = lambda frame, fragment: True) -> Iterator[RtspCamera]:
    """A camera while in the block."""
    one = RtspCamera(frames, keep)
    try:
        yield one
    finally:
        one.close()
