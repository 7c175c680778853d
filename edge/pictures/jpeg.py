"""Decodes JPEG pictures. A JPEG is refused if its structure (ITU-T T.81) is damaged or the decoder warns."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from ..errors import PictureError

START = b"\xff\xd8"
#: Largest width and height, as in a recipe's [source].
MOST_PX = 16384

_SOI, _EOI, _SOS, _DRI, _DNL, _TEM = 0xD8, 0xD9, 0xDA, 0xDD, 0xDC, 0x01
#: Sequential and progressive frames, by Huffman or arithmetic coding; then lossless and hierarchical ones.
_FRAMES = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)
_OTHER_FRAMES = (0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF)
_PROGRESSIVE = (0xC2, 0xCA)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The size and components of a JPEG, and down to which bit the scans so far hold each coefficient."""

    height: int
    width: int
    progressive: bool
    sampling: dict[int, tuple[int, int]]  # across and down, by component
    bits: dict[int, NDArray[np.int8]] = field(repr=False)  # (64,) lowest bit so far, -1 none, by component

    def mcus(self, components: list[int]) -> int:
        """Return the number of minimum coded units (ITU-T T.81, A.2) in a scan of these components."""
        most = [max(each[axis] for each in self.sampling.values()) for axis in (0, 1)]
        size, count = (self.width, self.height), 1
        for axis in (0, 1):
            if len(components) == 1:
                samples = -(-size[axis] * self.sampling[components[0]][axis] // most[axis])
                count *= -(-samples // 8)
            else:
                count *= -(-size[axis] // (8 * most[axis]))
        return count


def decode_jpeg(data: bytes) -> NDArray[np.uint8]:
    """Return a JPEG's pixels as `(H, W)` grey or `(H, W, 3)` BGR uint8. A rotation in EXIF is not applied.

    Raises PictureError if the structure is damaged or if the decoder gives a warning.
    """
    layout = check_jpeg(data)
    grey = len(layout.sampling) == 1
    try:
        picture = simplejpeg.decode_jpeg(data, "GRAY" if grey else "BGR", strict=True)
    except ValueError as error:
        raise PictureError(f"the JPEG's scans do not decode: {error}") from error
    return np.asarray(picture[..., 0] if grey else picture, np.uint8)


def check_jpeg(data: bytes) -> Layout:
    """Check the structure of a JPEG up to its end marker, and return its layout.

    Raises PictureError if the structure is damaged. Bytes after the end marker are ignored, because cameras
    and drivers add such bytes as padding.
    """
    if not data.startswith(START):
        raise PictureError(f"expected a JPEG, which starts with ff d8, found {data[:2].hex(' ') or 'nothing'}")
    at, layout, restart, in_scan = 2, None, 0, False
    places: tuple[NDArray[np.intp], NDArray[np.intp]] | None = None
    while True:
        code, at = _marker(data, at)
        if code == _EOI:
            if layout is None or not in_scan:
                raise PictureError(f"expected a scan before the JPEG's end marker at byte {at - 2}, found none")
            _check_complete(layout)
            return layout
        segment = _segment(data, code, at)
        start, at, in_scan = at - 2, at + 2 + len(segment), False
        if code in _FRAMES:
            if layout is not None:
                raise PictureError(f"expected one frame in the JPEG, found another at byte {start}")
            layout = _layout(segment, code in _PROGRESSIVE)
        elif code in _OTHER_FRAMES:
            raise PictureError(f"expected a baseline or progressive JPEG, found one of kind SOF{code - 0xC0}")
        elif code == _DRI:
            restart = int.from_bytes(segment[:2], "big")
        elif code == _SOS:
            if layout is None:
                raise PictureError(f"expected a frame before the JPEG's scan at byte {start}, found none")
            mcus = layout.mcus(_scan(segment, layout, start))
            places = places or _markers(data, at)
            at, in_scan = _end_of_scan(data, at, *places, -(-mcus // restart) - 1 if restart else 0), True


def _marker(data: bytes, at: int) -> tuple[int, int]:
    """Return the code of the marker at byte `at` and the start of its segment. Skip fill bytes (B.1.1.2)."""
    start = at
    while data[at : at + 2] == b"\xff\xff":
        at += 1
    if len(data) < at + 2:
        raise PictureError(f"the JPEG is truncated: it ends after {len(data)} bytes without an end marker")
    code = data[at + 1]
    if data[at] != 0xFF or code <= _TEM or code in (_SOI, _DNL) or 0xD0 <= code <= 0xD7:
        raise PictureError(
            f"expected a JPEG's segment or end marker at byte {start}, found {data[at : at + 2].hex(' ')}"
        )
    return code, at + 2


def _segment(data: bytes, code: int, at: int) -> bytes:
    """Return the content of the segment at byte `at`, without the two bytes of its length."""
    length = int.from_bytes(data[at : at + 2], "big")
    if length < 2 or at + length > len(data):
        raise PictureError(
            f"the JPEG's segment ff {code:02x} at byte {at - 2} says {length} bytes, found {len(data) - at}"
        )
    return data[at + 2 : at + length]


def _layout(segment: bytes, progressive: bool) -> Layout:
    """Return the size and components that a frame header (B.2.2) describes."""
    if len(segment) < 6 or len(segment) != 6 + 3 * segment[5]:
        raise PictureError(f"expected a JPEG's frame header, found {segment.hex() or 'nothing'}")
    if segment[0] != 8:
        raise PictureError(f"expected a JPEG of 8 bits, found {segment[0]}")
    height, width = int.from_bytes(segment[1:3], "big"), int.from_bytes(segment[3:5], "big")
    if not (0 < height <= MOST_PX and 0 < width <= MOST_PX):
        raise PictureError(f"expected a JPEG of up to {MOST_PX}x{MOST_PX}, found {width}x{height}")
    sampling = {part[0]: (part[1] >> 4, part[1] & 15) for part in _groups(segment[6:], 3)}
    if len(sampling) != segment[5] or len(sampling) not in (1, 3):
        raise PictureError(f"expected a JPEG in grey or three colours, found {segment[5]} components")
    if not all(1 <= across <= 4 and 1 <= down <= 4 for across, down in sampling.values()):
        raise PictureError(f"expected a JPEG's components to be sampled 1 to 4 times, found {sampling}")
    bits = {component: np.full(64, -1, np.int8) for component in sampling}
    return Layout(height=height, width=width, progressive=progressive, sampling=sampling, bits=bits)


def _scan(segment: bytes, layout: Layout, start: int) -> list[int]:
    """Note in `layout` which coefficients a scan header (B.2.3) announces. Return the scan's components."""
    where = f"the JPEG's scan at byte {start}"
    if not segment or len(segment) != 4 + 2 * segment[0]:
        raise PictureError(f"{where} has a header of {len(segment)} bytes, which is none")
    components = [part[0] for part in _groups(segment[1:-3], 2)]
    first, last, high, low = segment[-3], segment[-2], segment[-1] >> 4, segment[-1] & 15
    if not layout.progressive:
        first, last, high, low = 0, 63, 0, 0
    if not components or first > last or last > 63 or (layout.progressive and first == 0 < last):
        raise PictureError(f"{where} names the coefficients {first} to {last} of {len(components)} components")
    for component in components:
        if component not in layout.bits:
            raise PictureError(f"{where} is of component {component}, which the frame does not have")
        bits = layout.bits[component][first : last + 1]
        before = np.maximum(bits, 0)
        if (before != high).any() or (high == 0 and (bits >= 0).any()):
            raise PictureError(
                f"{where} refines bit {high} of coefficients {first} to {last}, found bit {int(before.max())}: "
                "a scan before it is missing or comes twice"
            )
        bits[:] = low
    return components


def _markers(data: bytes, at: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the positions after byte `at` of the restart markers and of all other markers, each `(N,)`."""
    array = np.frombuffer(data, np.uint8)
    places = np.flatnonzero(array[at:-1] == 0xFF) + at
    codes = array[places + 1]
    restarts = (codes & 0xF8) == 0xD0
    return places[restarts], places[~restarts & (codes != 0) & (codes != 0xFF)]


def _end_of_scan(
    data: bytes, at: int, restarts: NDArray[np.intp], others: NDArray[np.intp], wanted: int
) -> int:
    """Check that a scan has `wanted` restart markers in order, and return the byte where the scan ends.

    `restarts` and `others` are the `(N,)` positions of the restart markers and of all other markers.
    """
    following = np.searchsorted(others, at)
    if following == len(others):
        raise PictureError(
            f"the JPEG is truncated: it ends after {len(data)} bytes, in a scan, without an end marker"
        )
    end = int(others[following])
    inside = restarts[np.searchsorted(restarts, at) : np.searchsorted(restarts, end)]
    order = np.frombuffer(data, np.uint8)[inside + 1] & 7
    wrong = np.flatnonzero(order != np.arange(len(inside)) % 8)
    if len(wrong):
        raise PictureError(
            f"expected restart marker {wrong[0] % 8} at byte {inside[wrong[0]]} of the JPEG, found "
            f"{order[wrong[0]]}: data are missing before it"
        )
    if len(inside) != wanted:
        raise PictureError(
            f"expected {wanted} restart markers in the JPEG's scan at byte {at}, found {len(inside)}"
        )
    # Fill bytes do not belong to the scan.
    while data[end - 1] == 0xFF and end > at:
        end -= 1
    return end


def _check_complete(layout: Layout) -> None:
    """Raise PictureError if the scans did not contain all bits of all coefficients."""
    for component, bits in layout.bits.items():
        if missing := np.flatnonzero(bits != 0).tolist():
            raise PictureError(
                f"expected scans for all of the JPEG's component {component}, found none that completes "
                f"{len(missing)} of its 64 coefficients: scans are missing"
            )


def _groups(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]
