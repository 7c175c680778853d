"""Opens a video file or a camera by the reader that fits its address: HTTP, FFmpeg or GStreamer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .. import recipe
from .base import Source
from .live_stream import LiveStream
from .stream_frame import StreamFrame
from .streams.container import open_container
from .streams.gstreamer import open_gstreamer
from .streams.http_camera import open_http
from .video_file import VideoFile


def open_video(section: recipe.Video) -> Source:
    """Return the source for a video's address: a video file, of which every frame is read, or a live camera."""
    if section.backend == "gstreamer" or (section.backend == "auto" and " ! " in section.address):
        return LiveStream(section, open_gstreamer)
    return VideoFile(section) if Path(section.address).is_file() else LiveStream(section, _open_camera)


def _open_camera(section: recipe.Video, timeout_s: float) -> Iterator[StreamFrame]:
    if section.address.startswith(("http://", "https://")):
        frames = open_http(section.address, timeout_s)
        if frames is not None:
            return frames
    size = (section.width, section.height)
    return open_container(section.address, live=True, timeout_s=timeout_s, size=size).frames
