"""Splits the bytes of a camera's multipart/x-mixed-replace answer (RFC 2046) into its parts.

Both Content-Length and the boundary are checked: with only one of them, half a picture could pass.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ...errors import PictureError
from ...pictures import check_jpeg

#: Bytes of one part, at most.
MOST_BYTES = 64 * 2**20
_MOST_HEAD = 16 * 2**10
_BEGINS = re.compile(rb"\r?\n-*([^-\r\n][^\r\n]*)?\r?\Z|\r\Z")
_HEAD_END = re.compile(rb"\A\r?\n|\r?\n\r?\n")
_LENGTH = re.compile(rb"^content-length[ \t]*:[ \t]*(\d{1,9})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class BodyPart:
    """One part of a multipart answer: its bytes, and a text that is empty unless the part is damaged."""

    data: bytes
    wrong: str
    since_ns: int  # when its first bytes came
    head: bytes = b""  # its headers; empty if they did not come whole

    def number(self, header: str) -> int:
        """Return the whole number that the header with this name holds, or -1 if it holds none."""
        pattern = rb"^%s[ \t]*:[ \t]*(\d{1,18})[ \t]*\r?$" % re.escape(header.encode())
        found = re.search(pattern, self.head, re.IGNORECASE | re.MULTILINE)
        return int(found[1]) if found else -1


class Splitter:
    """Collects the bytes of an answer as they come, and yields each part as soon as the part is complete."""

    def __init__(self, boundary: str) -> None:
        # Cameras disagree whether the two dashes before each boundary belong to its name.
        self._name = boundary.strip().strip('"').lstrip("-").encode("latin-1", "replace")
        self._boundary = re.compile(rb"(?:\A|\r?\n)--+" + re.escape(self._name) + rb"(?:--)?[ \t]*\r?\n")
        self._longest = len(self._name) + 80
        self._buffer = bytearray()
        # There is no boundary in the buffer before this index.
        self._looked = 0
        self._length: int | None = None
        self._headers = b""
        self._since_ns = 0
        self._now_ns = 0
        self._step: Callable[[], BodyPart | None] = self._between

    def feed(self, data: bytes, now_ns: int) -> Iterator[BodyPart]:
        """Add the bytes that came at time `now_ns`. Yield the parts that are complete now."""
        self._buffer += data
        self._now_ns = now_ns
        while True:
            step = self._step
            if (part := step()) is not None:
                yield part
            elif self._step == step:
                return

    def end(self) -> Iterator[BodyPart]:
        """Yield the unfinished part if the answer ended in the middle of a part."""
        if self._step == self._body and self._buffer:
            expected = f"{self._length} bytes" if self._length is not None else "a boundary"
            wrong = f"expected {expected}, found the stream's end after {len(self._buffer)} bytes"
            yield BodyPart(bytes(self._buffer), wrong, self._since_ns, self._headers)

    def _between(self) -> None:
        """Skip all bytes before the next boundary."""
        found = self._boundary.search(self._buffer, self._looked)
        if found:
            self._go_on(found.end(), self._head)
        else:
            self._go_on(max(0, len(self._buffer) - self._longest), self._between)

    def _head(self) -> BodyPart | None:
        self._length, self._headers, self._since_ns = None, b"", 0
        found = _HEAD_END.search(self._buffer)
        end = found.end() if found else len(self._buffer)
        following = self._boundary.search(self._buffer, 0, end)
        # Some cameras send each boundary twice.
        if following and not following.start():
            self._go_on(0, self._between)
        elif following:
            return self._part(following.start(), "expected a head and a picture, found the next boundary")
        elif found:
            self._headers = bytes(self._buffer[:end])
            told = _LENGTH.search(self._buffer, 0, end)
            self._length = int(told[1]) if told and int(told[1]) <= MOST_BYTES else None
            self._go_on(end, self._body)
        elif end > _MOST_HEAD:
            return self._part(end, f"expected a head, found more than {_MOST_HEAD} bytes")
        return None

    def _body(self) -> BodyPart | None:
        if self._buffer and not self._since_ns:
            self._since_ns = self._now_ns
        limit = len(self._buffer) if self._length is None else self._length
        if found := self._boundary.search(self._buffer, self._looked, limit):
            return self._part(found.start(), self._cut_at(found.start()))
        if self._length is not None and len(self._buffer) >= limit:
            begun = self._begun(limit)
            wrong = self._cut_at(begun) if b"-" in self._buffer[begun:limit] else ""
            return self._part(limit, wrong, go_on=begun)
        # A whole JPEG need not wait for the next boundary, whose line break may already be in the buffer.
        if self._length is None and _is_whole(self._buffer):
            return self._part(len(self._buffer.rstrip(b"\r\n")))
        if len(self._buffer) > MOST_BYTES:
            return self._part(len(self._buffer), f"expected a picture, found more than {MOST_BYTES} bytes")
        self._looked = max(0, len(self._buffer) - self._longest)
        return None

    def _cut_at(self, end: int) -> str:
        return "" if self._length is None else f"expected {self._length} bytes, found a boundary after {end}"

    def _begun(self, end: int) -> int:
        """Return the index before `end` at which a boundary may begin, or `end` if none does.

        `end` is the part's end by its Content-Length. If the beginning of a boundary were cut off with this
        part, the next part would be lost.
        """
        found = _BEGINS.search(self._buffer, max(0, end - self._longest), end)
        return found.start() if found and self._name.startswith((found[1] or b"").rstrip(b"\r-")) else end

    def _part(self, end: int, wrong: str = "", go_on: int | None = None) -> BodyPart:
        part = BodyPart(bytes(self._buffer[:end]), wrong, self._since_ns or self._now_ns, self._headers)
        self._go_on(end if go_on is None else go_on, self._between)
        return part

    def _go_on(self, at: int, step: Callable[[], BodyPart | None]) -> None:
        del self._buffer[:at]
        self._looked, self._step = 0, step


def _is_whole(buffer: bytearray) -> bool:
    """Return whether the buffer holds a complete JPEG. The JPEG's structure tells where it ends."""
    data = bytes(buffer[-4:]).rstrip(b"\r\n")
    if not data.endswith(b"\xff\xd9"):
        return False
    try:
        check_jpeg(bytes(buffer))
    except PictureError:
        return False
    return True
