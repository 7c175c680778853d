"""A network camera on the loopback: H.264 or MJPEG over RTSP (RFC 2326), all in one TCP connection."""

from __future__ import annotations

import base64
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

_DESCRIPTION = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=live\r\nt=0 0\r\na=framerate:25\r\n"
FRAGMENT = 60  # bytes of a frame in one RTP packet
Keep = Callable[[int, int], bool]


class RtspCamera:
    """Plays frames again and again; `keep(frame, fragment)` says what of them is sent."""

    def __init__(self, frames: Sequence[bytes], keep: Keep) -> None:
        self._frames, self._keep = frames, keep
        self.sent = 0  # frames
        self._coding = JPEG if frames[0].startswith(b"\xff\xd8") else H264
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
            body = _DESCRIPTION + self._coding.described(self._frames[0])
            more = ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
        elif method == "SETUP":
            more += ["Transport: RTP/AVP/TCP;unicast;interleaved=0-1"]
        elif method == "OPTIONS":
            more = ["Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"]
        client.sendall("\r\n".join(["RTSP/1.0 200 OK", number, *more, "", body]).encode())
        return method

    def _play(self, client: socket.socket) -> None:
        sequence = frame = 0
        while not self.closing.wait(0.01):
            payloads = self._coding.payloads(self._frames[frame % len(self._frames)])
            for number, payload in enumerate(payloads):
                last = number == len(payloads) - 1
                head = struct.pack(
                    ">BBHII", 0x80, self._coding.number | last << 7, sequence & 0xFFFF, 3600 * frame, 1
                )
                sequence += 1
                if self._keep(frame, number):
                    client.sendall(b"$\0" + struct.pack(">H", len(head + payload)) + head + payload)
            frame += 1
            self.sent = frame


@dataclass(frozen=True)
class Coding:
    """How frames travel: RTP's payload number, the lines that describe them, and a frame's payloads."""

    number: int
    described: Callable[[bytes], str]
    payloads: Callable[[bytes], list[bytes]]


def units_of(data: bytes) -> list[bytes]:
    """NAL units between start codes."""
    return [unit.rstrip(b"\0") for unit in re.split(rb"\x00\x00\x01", data) if unit.rstrip(b"\0")]


def _h264_described(frame: bytes) -> str:
    units = [unit for unit in units_of(frame) if unit[0] & 31 in (7, 8)]
    sets = ",".join(base64.b64encode(unit).decode() for unit in units)
    return (
        "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
        f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={sets}\r\na=control:track1\r\n"
    )


def _h264_payloads(frame: bytes) -> list[bytes]:
    """NAL units, whole if they are small, else in fragments (RFC 6184, FU-A)."""
    found = []
    for unit in units_of(frame):
        if len(unit) <= FRAGMENT:
            found.append(unit)
            continue
        for at in range(1, len(unit), FRAGMENT):
            start, end = at == 1, at + FRAGMENT >= len(unit)
            head = bytes([unit[0] & 0xE0 | 28, start << 7 | end << 6 | unit[0] & 31])
            found.append(head + unit[at : at + FRAGMENT])
    return found


def _jpeg_payloads(frame: bytes) -> list[bytes]:
    """A JPEG of 64x48 in 4:2:0 without its headers, but for its quantization tables (RFC 2435)."""
    tables, at = b"", 2
    while frame[at + 1] != 0xDA:
        length = int.from_bytes(frame[at + 2 : at + 4], "big")
        if frame[at + 1] == 0xDB:
            segment = frame[at + 4 : at + 2 + length]
            tables += b"".join(segment[one + 1 : one + 65] for one in range(0, len(segment), 65))
        at += 2 + length
    scan = frame[at + 2 + int.from_bytes(frame[at + 2 : at + 4], "big") : -2]
    found = []
    for place in range(0, len(scan), FRAGMENT):
        more = struct.pack(">BBH", 0, 0, len(tables)) + tables if place == 0 else b""
        head = struct.pack(">IBBBB", place, 1, 255, 64 // 8, 48 // 8)
        found.append(head + more + scan[place : place + FRAGMENT])
    return found


H264 = Coding(96, _h264_described, _h264_payloads)
JPEG = Coding(26, lambda frame: "m=video 0 RTP/AVP 26\r\na=control:track1\r\n", _jpeg_payloads)


@contextmanager
def rtsp_camera(frames: Sequence[bytes], keep: Keep = lambda frame, fragment: True) -> Iterator[RtspCamera]:
    """A camera while in the block."""
    one = RtspCamera(frames, keep)
    try:
        yield one
    finally:
        one.close()
