"""Puts a text into a PNG and takes it out again, in an iTXt chunk (ISO/IEC 15948, 11.3.4.5)."""

from __future__ import annotations

import struct
import zlib

from ..errors import PictureError
from .png import START, chunks

#: Length of the signature and of the header, behind which the text is put.
_HEAD = len(START) + 25


def with_text(png: bytes, keyword: str, text: bytes) -> bytes:
    """Return the PNG with a text in UTF-8 under a keyword of up to 79 letters. The pixels do not change."""
    body = keyword.encode("latin-1") + b"\0\0\0\0\0" + text
    crc = zlib.crc32(body, zlib.crc32(b"iTXt"))
    chunk = struct.pack(">I4s", len(body), b"iTXt") + body + struct.pack(">I", crc)
    return png[:_HEAD] + chunk + png[_HEAD:]


def text_in(png: bytes, keyword: str) -> bytes:
    """Return the text in UTF-8 under a keyword. Raise PictureError if there is none or a chunk is damaged."""
    start = keyword.encode("latin-1") + b"\0\0\0\0\0"
    for kind, body in chunks(png):
        if kind == b"iTXt" and bytes(body[: len(start)]) == start:
            return bytes(body[len(start) :])
    raise PictureError(f"expected a text {keyword!r} in the PNG, found none")
