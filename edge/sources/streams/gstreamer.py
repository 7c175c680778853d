"""Reads frames of a GStreamer pipeline through OpenCV. Only the size and colour of a frame can be checked."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import cv2
import numpy as np

from ... import recipe
from ...documents.address import without_secrets
from ...errors import SourceError
from ..stream_frame import StreamFrame, damaged, decoded


def open_gstreamer(section: recipe.Video, timeout_s: float) -> Iterator[StreamFrame]:
    """Return the frames of a pipeline that ends in appsink. Raises SourceError if the pipeline cannot open."""
    name = without_secrets(section.address)
    capture = cv2.VideoCapture(section.address, cv2.CAP_GSTREAMER)
    if not capture.isOpened():
        raise SourceError(
            f"{name}: cannot be opened as a GStreamer pipeline: OpenCV's wheels have no GStreamer "
            "(cv2.getBuildInformation): let gst-launch-1.0 send the frames, as docs/plant.md shows, or "
            "install an OpenCV with GStreamer"
        )
    return _frames(capture, name)


def _frames(capture: cv2.VideoCapture, name: str) -> Iterator[StreamFrame]:
    count = 0
    try:
        while capture.grab():
            done, frame = capture.retrieve()
            count += 1
            ref = f"frame {count}"
            if done:
                yield decoded(partial(np.asarray, frame), ref)
            else:
                yield damaged("OpenCV made no picture of it", name, ref)
    finally:
        capture.release()
