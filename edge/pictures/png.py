"""Checks that a PNG (ISO/IEC 15948) is complete: each chunk's length and CRC, and the size of pixel rows."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from ..errors import PictureError

START = b"\x89PNG\r\n\x1a\n"

#: Channels by colour type.
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
#: Adam7's passes: first column and row, and the steps to the next column and row.
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def check_png(data: bytes) -> None:
    """Raise PictureError if a PNG is damaged. Bytes after its last chunk are ignored."""
    rows = left = 0
    inflate = zlib.decompressobj()
    for place, (kind, body) in enumerate(chunks(data)):
        if (kind == b"IHDR") != (place == 0):
            raise PictureError(f"expected the PNG's header as its first chunk alone, found {_word(kind)}")
        if kind == b"IHDR":
            rows = left = _size_of_rows(body)
        elif kind == b"IDAT":
            try:
                left -= len(inflate.decompress(body, left + 1))
            except zlib.error as error:
                raise PictureError(f"the PNG's data do not inflate: {error}") from error
            if left < 0 or inflate.unused_data:
                raise PictureError(f"expected {rows} bytes of rows in the PNG, found more")
        elif kind == b"IEND" and (left or not inflate.eof):
            raise PictureError(f"expected {rows} bytes of rows in the PNG, found {rows - left}")


def chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the kind and the content of each chunk up to the last. Raise PictureError if one is damaged."""
    at, kind = len(START), b""
    while kind != b"IEND":
        kind, body = _chunk(data, at)
        at += 12 + len(body)
        yield kind, body


def _chunk(data: bytes, at: int) -> tuple[bytes, memoryview]:
    """Return the kind and the content of the chunk at byte `at`. Raises PictureError if it is damaged."""
    if len(data) < at + 12:
        raise PictureError(f"the PNG is truncated: it ends after {len(data)} bytes without its last chunk")
    length, kind = struct.unpack_from(">I4s", data, at)
    if len(data) < at + 12 + length:
        raise PictureError(
            f"the PNG is truncated: its chunk {_word(kind)} at byte {at} says {length} bytes, found "
            f"{len(data) - at - 12}"
        )
    body = memoryview(data)[at + 8 : at + 8 + length]
    stored = int.from_bytes(data[at + 8 + length : at + 12 + length], "big")
    if (found := zlib.crc32(body, zlib.crc32(kind))) != stored:
        raise PictureError(
            f"expected the CRC {stored:08x} of the PNG's chunk {_word(kind)} at byte {at}, found {found:08x}"
        )
    return kind, body


def _size_of_rows(header: memoryview) -> int:
    """Return the number of bytes in all rows of pixels. Each row begins with a byte for its filter."""
    if len(header) != 13:
        raise PictureError(f"expected 13 bytes in the PNG's header, found {len(header)}")
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    if colour not in _CHANNELS:
        raise PictureError(f"expected the PNG's colour type to be one of {list(_CHANNELS)}, found {colour}")
    bits = depth * _CHANNELS[colour]
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    sizes = ((-(-(width - x) // across), -(-(height - y) // down)) for x, y, across, down in passes)
    return sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in sizes if columns > 0 and rows > 0)


def _word(kind: bytes) -> str:
    return ascii(kind.decode("latin-1"))
