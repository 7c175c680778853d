"""Texts inside PNG files."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest

from edge.errors import PictureError
from edge.pictures import decode
from edge.pictures.png_text import text_in, with_text

PICTURE = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
PNG = bytes(cv2.imencode(".png", PICTURE)[1])
TEXT = '{"view": "Gehäuse 1"}'.encode()


def test_a_text_is_found_again_and_changes_no_pixel() -> None:
    """A PNG with a text is still a whole PNG of the same picture."""
    data = with_text(with_text(PNG, "other", b"x"), "verdict", TEXT)
    assert text_in(data, "verdict") == TEXT
    assert text_in(data, "other") == b"x"
    assert (decode(data, "picture") == PICTURE).all()


def test_a_missing_or_damaged_text_is_an_error() -> None:
    """A text is never guessed."""
    with pytest.raises(PictureError, match="verdict"):
        text_in(PNG, "verdict")
    data = bytearray(with_text(PNG, "verdict", TEXT))
    data[data.index(b"view")] ^= 1
    with pytest.raises(PictureError, match="CRC"):
        text_in(bytes(data), "verdict")


def test_another_program_reads_the_text() -> None:
    """The text is where the standard says, so that any viewer of pictures shows it."""
    pytest.importorskip("PIL")
    read = "Image.open(io.BytesIO(sys.stdin.buffer.read())).text['verdict']"
    code = f"import sys, io; from PIL import Image; sys.stdout.buffer.write({read}.encode())"
    png = with_text(PNG, "verdict", TEXT)
    done = subprocess.run([sys.executable, "-c", code], input=png, capture_output=True)
    assert done.stdout == TEXT, done.stderr
