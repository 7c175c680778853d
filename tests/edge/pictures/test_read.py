"""A picture is read whole or refused; damage that a decoder would paint over is named."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.errors import PictureError
from edge.pictures import decode, read

HEIGHT, WIDTH = 201, 333  # no multiples of anything
COLOURS = [1, 3]
RAW = [cv2.IMWRITE_TIFF_COMPRESSION, 1]
RESTART, PROGRESSIVE = (cv2.IMWRITE_JPEG_RST_INTERVAL, 5), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
HALVED = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420)


def scene(channels: int = 1, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """Soft shapes with some noise."""
    rng = np.random.default_rng(channels)
    soft = cv2.resize(rng.integers(0, 255, (height // 16, width // 16, channels), np.uint8), (width, height))
    noisy = soft.reshape(height, width, channels).astype(int) + rng.integers(-8, 8, (height, width, channels))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def jpeg(*options: tuple[int, int], channels: int = 1) -> bytes:
    done, data = cv2.imencode(".jpg", scene(channels), [number for option in options for number in option])
    assert done
    return data.tobytes()


def png(picture: NDArray[Any]) -> bytes:
    return cv2.imencode(".png", picture)[1].tobytes()


def scan_of(data: bytes) -> int:
    """Where the first scan's coded data start."""
    at = data.index(b"\xff\xda")
    return at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")


@pytest.mark.parametrize("channels", COLOURS)
@pytest.mark.parametrize("options", [(), (RESTART,), (PROGRESSIVE,), (HALVED, RESTART), (PROGRESSIVE, RESTART)])
def test_a_whole_jpeg_is_read_like_everywhere(channels: int, options: tuple[tuple[int, int], ...]) -> None:
    """Pixels are those of libjpeg, grey as grey and colours as BGR."""
    data = jpeg(*options, channels=channels)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(decode(data, "part"), expected)
    np.testing.assert_array_equal(decode(data + b"\0maker's note", "part"), expected)


def test_a_jpeg_with_a_thumbnail_is_one_picture() -> None:
    """The thumbnail's markers are not taken for the picture's."""
    small, whole = jpeg(), jpeg(RESTART)
    both = whole[:2] + b"\xff\xe1" + (len(small) + 2).to_bytes(2, "big") + small + whole[2:]
    np.testing.assert_array_equal(decode(both, "part"), decode(whole, "part"))
    with pytest.raises(PictureError, match="truncated"):
        decode(both[:-40], "part")


def exif(orientation: int) -> bytes:
    """An APP1 segment that asks viewers to turn the picture."""
    tiff = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 274, 3, 1, orientation, 0, 0)
    return b"\xff\xe1" + struct.pack(">H", len(tiff) + 8) + b"Exif\0\0" + tiff


def test_an_orientation_is_never_applied() -> None:
    """A picture lies as the camera took it, for the line as in training."""
    whole = jpeg()
    turned = whole[:2] + exif(6) + whole[2:]
    assert cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_GRAYSCALE).shape == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(decode(turned, "part"), decode(whole, "part"))


@pytest.mark.parametrize("options", [(), (RESTART,), (PROGRESSIVE,), (PROGRESSIVE, RESTART)])
@pytest.mark.parametrize("damage", ["cut", "cut and ended", "hole", "hole ended", "grey", "another's"])
def test_a_damaged_jpeg_is_refused(damage: str, options: tuple[tuple[int, int], ...]) -> None:
    """Half a picture is none, whatever its bytes were replaced by."""
    if damage == "another's" and RESTART not in options:
        pytest.skip("bytes that decode are told by nothing but restart intervals")
    data, rng = jpeg(*options), np.random.default_rng(0)
    first, length = scan_of(data), len(data) // 5
    for _ in range(20):
        at = int(rng.integers(first, len(data) - length - 2))
        filled = {"hole": b"", "grey": bytes(length), "another's": data[first : first + length]}.get(damage)
        damaged = {"cut": data[:at], "cut and ended": data[:at] + b"\xff\xd9"}.get(damage)
        damaged = damaged or data[:at] + (filled or b"") + data[at + length :]
        if damage == "hole ended":
            damaged = data[:at] + data[at + length :][:-2] + b"\xff\xd9"
        with pytest.raises(PictureError, match=r"^part: .*"):
            decode(damaged, "part")


def test_lost_restart_intervals_are_counted() -> None:
    """Eight lost intervals leave markers in order, and the decoder does not notice; their number does."""
    data = jpeg(RESTART)
    places = [at for at in range(scan_of(data), len(data)) if data[at] == 0xFF and 0xD0 <= data[at + 1] <= 0xD7]
    with pytest.raises(
        PictureError, match=rf"expected {len(places)} restart markers .* found {len(places) - 8}"
    ):
        decode(data[: places[7]] + data[places[15] :], "part")
    with pytest.raises(PictureError, match=r"expected restart marker 7 .* found 2: data are missing"):
        decode(data[: places[7]] + data[places[10] :], "part")


def test_each_scan_of_a_progressive_jpeg_has_to_be_there() -> None:
    """A picture that never became sharp is not judged."""
    data = jpeg(PROGRESSIVE)
    starts = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xda"]
    for start, end in zip(starts, [*starts[1:], len(data) - 2], strict=True):
        end = data.rindex(b"\xff\xc4", start, end) if b"\xff\xc4" in data[start:end] else end
        with pytest.raises(PictureError, match=r"missing|expected"):
            decode(data[:start] + data[end:], "part")


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (lambda data: b"", "found 0 bytes"),
        (lambda data: data.replace(b"\xff\xdb", b"\xff\xd8", 1), "expected a JPEG's segment .* found ff d8"),
        (lambda data: data.replace(b"\xff\xc0\x00\x0b\x08", b"\xff\xc0\x00\x0b\x0c"), "8 bits, found 12"),
        (lambda data: data.replace(b"\xff\xc0\x00\x0b", b"\xff\xc3\x00\x0b"), "found one of kind SOF3"),
        (lambda data: data[: scan_of(data)] + b"\xff\xd9", "do not decode"),
        (lambda data: data[: data.index(b"\xff\xda")] + b"\xff\xd9", "expected a scan before"),
    ],
    ids=["nothing", "a second start", "12 bits", "lossless", "an empty scan", "no scan"],
)
def test_a_jpeg_of_another_make_is_named(broken: Any, told: str) -> None:
    """The text says what was expected and what is there."""
    with pytest.raises(PictureError, match=told):
        decode(broken(jpeg()), "part")


def test_every_byte_of_a_png_counts() -> None:
    """A changed or missing byte of a PNG never goes unnoticed."""
    data, rng = png(scene(3)), np.random.default_rng(0)
    for _ in range(100):
        at = int(rng.integers(8, len(data)))
        changed = bytearray(data)
        changed[at] ^= int(rng.integers(1, 256))
        for damaged in (bytes(changed), data[:at], data[:at] + data[at + 1 :]):
            with pytest.raises(PictureError, match=r"^part: "):
                decode(damaged, "part")


def test_a_wrong_checksum_of_a_png_is_told() -> None:
    """Even where the data inflate: the bytes are not those that were written."""
    data = bytearray(png(scene()))
    data[-13] ^= 1  # the last byte of the last chunk but one
    with pytest.raises(PictureError, match=r"expected the CRC \w{8} of the PNG's chunk 'IDAT'"):
        decode(bytes(data), "part")


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@pytest.mark.parametrize(("rows", "told"), [(4, "found 20"), (6, "found more")])
def test_a_png_holds_exactly_its_rows(rows: int, told: str) -> None:
    """A writer that lost rows and summed up right is found out all the same."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 5, 8, 0, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(5 * rows)))
    with pytest.raises(PictureError, match=f"expected 25 bytes of rows in the PNG, {told}"):
        decode(b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IEND", b""), "part")


def test_more_than_8_bits_stay_what_they_are() -> None:
    """12 bits in a PNG of 16 come as 16, so that whoever wants 8 refuses them instead of seeing black."""
    deep = scene().astype(np.uint16) * 16
    found = decode(png(deep), "part")
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, deep[..., 0])


@pytest.mark.parametrize(
    ("ending", "options"),
    [(".bmp", []), (".tif", []), (".tif", RAW), (".webp", []), (".pgm", []), (".ppm", [])],
)
def test_a_cut_file_of_another_format_is_refused(ending: str, options: list[int]) -> None:
    """Formats without checksums at least have to be as long as they say."""
    picture = scene(3 if ending == ".ppm" else 1)
    data = cv2.imencode(ending, picture, options)[1].tobytes()
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(decode(data, "part"), expected)
    for kept in (2, 20, 60, len(data) // 2, len(data) - 1):
        with pytest.raises(PictureError, match=r"^part: "):
            decode(data[:kept], "part")


def test_a_tiff_that_is_to_be_turned_is_refused() -> None:
    """OpenCV would turn it, and no picture is turned."""
    data = cv2.imencode(".tif", scene(), RAW)[1].tobytes()
    at = int.from_bytes(data[4:8], "little")
    entry = data.index(struct.pack("<HHI", 284, 3, 1), at)  # planar configuration, which may be left out
    turned = data[:entry] + struct.pack("<HHIHH", 274, 3, 1, 6, 0) + data[entry + 12 :]
    with pytest.raises(PictureError, match=r"found orientation 6"):
        decode(turned, "part")


def test_other_formats_are_not_tried() -> None:
    """Only what can be checked is read."""
    with pytest.raises(PictureError, match=r"expected a picture .* that are none"):
        decode(b"GIF89a" + bytes(40), "part")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """The text names the file and the system's reason."""
    with pytest.raises(PictureError, match=f"{tmp_path}/none.png: cannot be read: No such file"):
        read(tmp_path / "none.png")


def test_a_file_whose_middle_is_lost_is_refused() -> None:
    """One that a user met: half of it grey, and its end marker there."""
    path = Path(os.environ.get("EDGE_DATA", "")).parent / "cases" / "cut-file" / "27holejpg_bad.jpg"
    if not path.is_file():
        pytest.skip("needs the cases that lie beside EDGE_DATA")
    with pytest.raises(PictureError, match="do not decode"):
        read(path)


def test_four_colours_are_told_apart() -> None:
    """A JPEG for printers is no picture of a camera."""
    data = jpeg(channels=3).replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x14\x08")
    at = data.index(b"\xff\xc0") + 2 + 17
    data = data[:at] + b"\x04\x11\x00" + data[at:]
    data = data[: at - 10] + b"\x04" + data[at - 9 :]
    with pytest.raises(PictureError, match="grey or three colours, found 4 components"):
        decode(data, "part")
