"""Reads a video file, an RTSP stream, a V4L2 device or a GStreamer pipeline through OpenCV."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .. import recipe
from ..address import shown
from ..errors import PartError, SourceEnded, SourceError
from .base import Source, Trigger, deliver
from .pace import Pace

_BACKENDS = {
    "auto": cv2.CAP_ANY,
    "ffmpeg": cv2.CAP_FFMPEG,
    "v4l2": cv2.CAP_V4L2,
    "gstreamer": cv2.CAP_GSTREAMER,
}
_OPEN_TIMEOUT_S = 10.0
#: FFmpeg looks at a stream for a second before it shows the first frame; a fifth is enough for a camera.
_RTSP_OPTIONS = "rtsp_transport;tcp|analyzeduration;200000|probesize;100000"


def open_video(section: recipe.Video) -> Source:
    """A file is read frame by frame; anything else is live, and only its newest frame counts."""
    return VideoFile(section) if Path(section.address).is_file() else LiveVideo(section)


def _opened(section: recipe.Video) -> cv2.VideoCapture:
    if section.address.startswith("rtsp"):  # OpenCV takes FFmpeg's options from the environment alone
        os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", _RTSP_OPTIONS)
    capture = cv2.VideoCapture(section.address, _BACKENDS[section.backend])
    if not capture.isOpened():
        raise SourceError(
            f"{shown(section.address)}: cannot be opened with the backend {section.backend!r}: does it exist, "
            "and does this OpenCV have the backend (cv2.getBuildInformation)?"
        )
    return capture


class VideoFile:
    """Every frame is a part, as fast as it is asked for or at the file's own rate."""

    def __init__(self, section: recipe.Video) -> None:
        self._section = section

    def __enter__(self) -> VideoFile:
        self._capture = _opened(self._section)
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        if self._section.paced and not rate > 0:
            raise SourceError(
                f"{shown(self._section.address)}: tells no frame rate: set [source] paced = false"
            )
        self._pace = Pace(rate) if self._section.paced else None
        self._grabbed, self._count = False, 0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._capture.release()

    def wait(self, timeout_s: float) -> Trigger | None:
        if not self._grabbed and not self._capture.grab():
            raise SourceEnded(f"{shown(self._section.address)}: all {self._count} frames have been shown")
        self._grabbed = True
        view = self._section.camera
        trigger = (
            self._pace.wait(timeout_s, view)
            if self._pace
            else Trigger(view, time.monotonic_ns(), time.time_ns())
        )
        if trigger is not None:
            self._grabbed = False
            self._count += 1
        return trigger

    def read(self, out: NDArray[np.uint8]) -> None:
        name = f"{shown(self._section.address)}, frame {self._count}"
        done, frame = self._capture.retrieve(out if out.ndim == 3 else None)
        if not done:
            raise PartError("frame", f"{name}: cannot be decoded")
        if frame is not out:
            deliver(frame, out, name)


class LiveVideo:
    """The newest frame is the part; frames that nobody waited for are passed over, never queued.

    A thread of its own grabs, since FFmpeg and V4L2 may hang for seconds on a stream that went silent.
    """

    def __init__(self, section: recipe.Video) -> None:
        self._section = section
        self._fresh = threading.Condition()
        self._stopping = False
        self._failed: str | None = None
        self._newest: tuple[Trigger, NDArray[Any]] | None = None
        self._heard_ns: int | None = None  # when the last frame came

    def __enter__(self) -> LiveVideo:
        threading.Thread(target=self._grab, name="grab", daemon=True).start()
        with self._fresh:
            self._fresh.wait_for(lambda: self._heard_ns or self._failed, _OPEN_TIMEOUT_S)
            if self._failed:
                raise SourceError(self._failed)
            if self._heard_ns is None:
                self._stopping = True
                raise SourceError(
                    f"{shown(self._section.address)}: did not open within {_OPEN_TIMEOUT_S:g} s: is it reachable?"
                )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True  # a thread that hangs in the driver is left behind; it ends with the process

    def wait(self, timeout_s: float) -> Trigger | None:
        with self._fresh:
            self._fresh.wait_for(lambda: self._newest or self._failed, timeout_s)
            if self._newest:
                (trigger, self._frame), self._newest = self._newest, None
                return trigger
            if self._failed:
                raise SourceError(self._failed)
            silent_ms = (time.monotonic_ns() - (self._heard_ns or 0)) // 1_000_000
        if silent_ms > self._section.timeout_ms:
            raise SourceError(
                f"{shown(self._section.address)}: no frame for {silent_ms} ms, {self._section.timeout_ms} are "
                "allowed: look at camera and cable"
            )
        return None

    def read(self, out: NDArray[np.uint8]) -> None:
        deliver(self._frame, out, shown(self._section.address))

    def _grab(self) -> None:
        """In the thread: keep the newest frame until told to stop or until the stream ends."""
        try:
            capture = _opened(self._section)
        except SourceError as error:
            self._tell(failed=str(error))
            return
        self._tell()
        while not self._stopping:
            if not capture.grab():
                self._tell(
                    failed=f"{shown(self._section.address)}: the stream ended or broke off: look at camera and cable"
                )
                break
            trigger = Trigger(self._section.camera, time.monotonic_ns(), time.time_ns())
            done, frame = capture.retrieve()
            if done:
                self._tell((trigger, frame))
        capture.release()

    def _tell(self, newest: tuple[Trigger, NDArray[Any]] | None = None, failed: str | None = None) -> None:
        with self._fresh:
            self._newest, self._failed, self._heard_ns = newest or self._newest, failed, time.monotonic_ns()
            self._fresh.notify_all()
