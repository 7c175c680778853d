"""A golden frame is a picture with outputs of the shapes that the manifest names, or it is refused."""

from __future__ import annotations

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from edited import edit, put

from edge.bundle import describe, read_bundle
from edge.errors import BundleError


def test_a_golden_frame_that_is_no_picture_is_refused(bundle: Path) -> None:
    """The digest is right and the file is not: packed wrongly."""
    junk = bundle / "golden/clean.png"
    _, data = cv2.imencode(".png", np.zeros((64, 64), np.uint8))
    junk.write_bytes(data.tobytes()[:20])
    edit(bundle, put("golden.0.frame", describe(bundle, "golden/clean.png")))
    with pytest.raises(BundleError, match=r"clean.png: not a picture"):
        read_bundle(bundle).golden()


def test_golden_outputs_of_another_shape_are_refused(bundle: Path) -> None:
    """Golden cases of another model do not pass for this one's."""
    np.savez(bundle / "golden/clean.npz", map=np.zeros((1, 2, 8, 8), np.float32))
    edit(bundle, put("golden.0.expected", describe(bundle, "golden/clean.npz")))
    with pytest.raises(BundleError, match=r"clean.npz: expected .*, found .*\(1, 2, 8, 8\)"):
        read_bundle(bundle).golden()


def deflated(**arrays: np.ndarray) -> bytes:
    """An .npz file with these arrays, packed."""
    written = io.BytesIO()
    np.savez_compressed(written, **arrays)
    return written.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"PK" * 50, id="no archive"),
        pytest.param(deflated(map=np.array([{"a": 1}], dtype=object)), id="objects"),
        pytest.param(deflated(map=np.zeros(50_000_000, np.uint8)), id="400 times as large unpacked"),
        pytest.param(deflated(map=np.array(["text"])), id="texts"),
        pytest.param(deflated(map=np.zeros(8))[:-40], id="cut"),
    ],
)
def test_outputs_of_a_golden_frame_that_are_none_are_refused(bundle: Path, data: bytes) -> None:
    """Nothing is unpickled or unpacked into memory that the model's outputs do not need."""
    file = json.loads((bundle / "manifest.json").read_text())["golden"][0]["expected"]["path"]
    (bundle / file).write_bytes(data)
    for key, value in describe(bundle, file).items():
        edit(bundle, put(f"golden.0.expected.{key}", value))
    with pytest.raises(BundleError, match="not a file of arrays of numbers"):
        read_bundle(bundle).golden()
