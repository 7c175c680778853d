"""Finds the frames that an H.264 stream lost, by gaps in the frame numbers (ITU-T H.264, 7.4.3).

Reference frames are frames from which other frames are decoded. Only the loss of a reference frame is found.
FFmpeg hides such a loss, and gives no warning if the next frame that comes is not a reference frame.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_SLICE, _IDR, _SPS = 1, 5, 7
#: Bytes at the beginning of a slice that hold what is read of its header.
_SEEN = 48
#: Profiles whose parameters have a chroma format (7.3.2.1.1).
_WITH_CHROMA = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)


class FrameNumbers:
    """Finds gaps in the frame numbers of a stream. `header` is the container's codec data, or empty."""

    def __init__(self, header: bytes) -> None:
        self._in_mp4 = header[:1] == b"\x01" and len(header) > 6
        self._size = (header[4] & 3) + 1 if self._in_mp4 else 0
        # Bits of a frame number; 0 until the parameters of a sequence have come.
        self._bits = 0
        self._frames_only, self._planes = True, False
        # Number of the last reference frame.
        self._last: int | None = None
        for unit in _from_mp4_header(header) if self._in_mp4 else _by_start_codes(header):
            self._learn(unit)

    def look(self, packet: bytes) -> tuple[bool, str]:
        """Return whether a packet has a key frame, and a text that is empty unless an earlier frame is lost."""
        key, missing, first = True, "", True
        units = _by_lengths(packet, self._size) if self._in_mp4 else _by_start_codes(packet)
        for unit in units:
            self._learn(unit)
            if unit[0] & 31 not in (_SLICE, _IDR) or not self._bits:
                continue
            bits = _Bits(unit[1:_SEEN])
            # The first macroblock, the slice's type, and the number of the picture parameters.
            bits.exp_golomb()
            key &= bits.exp_golomb() % 5 == 2 or unit[0] & 31 == _IDR
            bits.exp_golomb()
            if self._planes:
                bits.take(2)
            number = bits.take(self._bits)
            field = not self._frames_only and bits.take(1)
            if first:
                missing, first = self._gap(number, unit[0] & 31 == _IDR, bool(field)), False
                if unit[0] >> 5 & 3:
                    self._last = number
        return key and not first, missing

    def _gap(self, number: int, idr: bool, field: bool) -> str:
        if idr or self._last is None or (field and number == self._last):
            return ""
        expected = (self._last + 1) % (1 << self._bits)
        return "" if number == expected else f"a frame is missing: expected number {expected}, found {number}"

    def _learn(self, unit: bytes) -> None:
        """Read how slices are coded from sequence parameters (7.3.2.1.1). Other NAL units are ignored."""
        if unit[0] & 31 != _SPS:
            return
        bits = _Bits(unit[1:])
        profile = bits.take(8)
        bits.take(16)
        bits.exp_golomb()
        self._planes = False
        if profile in _WITH_CHROMA:
            chroma = bits.exp_golomb()
            self._planes = chroma == 3 and bool(bits.take(1))
            bits.exp_golomb()
            bits.exp_golomb()
            bits.take(1)
            if bits.take(1):
                for index in range(12 if chroma == 3 else 8):
                    if bits.take(1):
                        _skip_scaling(bits, 16 if index < 6 else 64)
        if (more := bits.exp_golomb()) > 12:
            # Parameters that cannot be: the decoder will report them.
            return
        self._bits = more + 4
        order = bits.exp_golomb()
        if order == 0:
            bits.exp_golomb()
        elif order == 1:
            bits.take(1)
            bits.exp_golomb()
            bits.exp_golomb()
            for _ in range(min(bits.exp_golomb(), 255)):
                bits.exp_golomb()
        bits.exp_golomb()
        bits.take(1)
        bits.exp_golomb()
        bits.exp_golomb()
        self._frames_only = bool(bits.take(1))


class _Bits:
    """Reads the bits of a NAL unit without its emulation prevention bytes (7.4.1). Zeros follow the end."""

    def __init__(self, unit: bytes) -> None:
        data = unit.replace(b"\0\0\3", b"\0\0")
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, count: int) -> int:
        """Return the next `count` bits as a number."""
        self._left -= count
        value = self._value >> self._left if self._left >= 0 else self._value << -self._left
        return value & ((1 << count) - 1)

    def exp_golomb(self) -> int:
        """Read the next Exp-Golomb number (ue(v), 9.1). The same call can skip a signed number (se(v))."""
        zeros = 0
        while zeros < 32 and not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)


def _skip_scaling(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            code = bits.exp_golomb()
            following = (last + ((code + 1) // 2 if code % 2 else -(code // 2))) % 256
        last = following or last


def _by_start_codes(data: bytes) -> Iterator[bytes]:
    """Yield the NAL units of a byte stream with start codes (Annex B), but only the beginning of each slice."""
    for found in re.finditer(rb"\x00\x00\x01(?=[^\x00])", data):
        kind = data[found.end()] & 31
        yield data[found.end() : found.end() + (512 if kind == _SPS else _SEEN)]


def _by_lengths(data: bytes, size: int) -> Iterator[bytes]:
    """Yield the NAL units of an MP4 packet, in which each unit follows its length in `size` bytes."""
    at = 0
    while at + size < len(data):
        length = int.from_bytes(data[at : at + size], "big")
        at += size
        if data[at : at + length]:
            yield data[at : at + length]
        at += length


def _from_mp4_header(header: bytes) -> Iterator[bytes]:
    """Yield the sequence parameters in MP4 codec data (AVCDecoderConfigurationRecord, ISO/IEC 14496-15)."""
    at = 6
    for _ in range(header[5] & 31):
        length = int.from_bytes(header[at : at + 2], "big")
        if unit := header[at + 2 : at + 2 + length]:
            yield unit
        at += 2 + length
