"""Whatever bytes come, a reader gives what was sent or says what is wrong; it never fails in another way."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest
from camera import part
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import PictureError
from edge.pictures import decode
from edge.sources.streams.h264 import FrameNumbers
from edge.sources.streams.multipart import Splitter

PICTURE = np.random.default_rng(0).integers(0, 255, (40, 56, 3), np.uint8)
JPEG = cv2.imencode(".jpg", PICTURE, [cv2.IMWRITE_JPEG_RST_INTERVAL, 3])[1].tobytes()
WHOLE = {
    "jpeg": JPEG,
    "progressive": cv2.imencode(".jpg", PICTURE, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes(),
    "png": cv2.imencode(".png", PICTURE)[1].tobytes(),
    "tiff": cv2.imencode(".tif", PICTURE)[1].tobytes(),
    "bmp": cv2.imencode(".bmp", PICTURE)[1].tobytes(),
    "webp": cv2.imencode(".webp", PICTURE)[1].tobytes(),
}


@pytest.mark.parametrize("kind", WHOLE)
@given(
    changes=st.lists(st.tuples(st.floats(0, 0.999), st.binary(max_size=4)), min_size=1, max_size=4),
    near=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_bytes_that_are_no_picture_are_refused_in_words(
    kind: str, changes: list[tuple[float, bytes]], near: bool
) -> None:
    """Headers are damaged as often as what they head."""
    data = WHOLE[kind]
    for where, written in changes:
        at = int(where * (min(700, len(data)) if near else len(data)))
        data = data[:at] + written + data[at + 2 :]
    try:
        decode(data, "part")
    except PictureError as error:
        assert str(error).startswith("part: ")  # noqa: PT017


@given(
    bodies=st.lists(st.sampled_from([JPEG, b"", b"busy", JPEG[:200], b"--fram\r\n"]), max_size=5),
    told=st.booleans(),
    cuts=st.lists(st.floats(0, 1), max_size=8),
)
@settings(max_examples=200, deadline=None)
def test_parts_do_not_depend_on_how_the_bytes_arrive(
    bodies: list[bytes], told: bool, cuts: list[float]
) -> None:
    """Each part comes once and whole, however the network cuts the stream."""
    stream = b"".join(part(body, -1 if told else None) for body in bodies) + b"--frame--\r\n"
    places = sorted({0, len(stream), *(int(cut * len(stream)) for cut in cuts)})
    splitter, found = Splitter("frame"), []
    for start, end in pairwise(places):
        found += splitter.feed(stream[start:end], end)
    assert [one.data for one in found] == bodies
    assert not any(one.wrong for one in found)


@given(st.lists(st.binary(max_size=200), max_size=6))
def test_any_bytes_can_be_split(chunks: list[bytes]) -> None:
    """A camera that goes mad ends no line, and no part holds bytes that it did not send, or twice."""
    splitter, sent = Splitter("f"), [b"\n--f\r\n" + chunk for chunk in chunks]
    found = [one for data in sent for one in splitter.feed(data, 1)]
    found += splitter.end()
    at, stream = 0, b"".join(sent)
    for one in found:
        at = stream.find(one.data, at) + len(one.data)
        assert at >= len(one.data)


@given(st.binary(max_size=60), st.lists(st.binary(max_size=80), max_size=4))
def test_any_bytes_can_be_looked_at_as_h264(header: bytes, packets: list[bytes]) -> None:
    """What is no H.264 is the decoder's to refuse."""
    for start in (b"\x01", b"\0\0\1\x67"):
        numbers = FrameNumbers(start + header)
        for packet in packets:
            numbers.look(b"\0\0\1\x67" + packet + b"\0\0\1\x41" + packet)
