"""Opens a video file or a camera by the reader that fits its address: HTTP, FFmpeg or GStreamer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .. import recipe
from ..documents.address import without_secrets
from ..errors import SourceError
from .base import Source
from .live_stream import LiveStream
from .stream_frame import StreamFrame
from .streams.container import open_container
from .streams.gstreamer import open_gstreamer
from .streams.http_camera import open_http
from .video_file import VideoFile

_HTTP = ("http://", "https://")


def open_video(section: recipe.Video) -> Source:
    """Return the source for a video's address: a video file, of which every frame is read, or a live camera.

    Raises SourceError if the recipe expects the source to count its frames, and it cannot.
    """
    if section.counter and not section.address.startswith(_HTTP):
        raise _no_counter(section)
    if section.backend == "gstreamer" or (section.backend == "auto" and " ! " in section.address):
        return LiveStream(section, open_gstreamer)
    return VideoFile(section) if Path(section.address).is_file() else LiveStream(section, _open_camera)


def _open_camera(section: recipe.Video, timeout_s: float) -> Iterator[StreamFrame]:
    if section.address.startswith(_HTTP):
        frames = open_http(section.address, timeout_s, section.counter)
        if frames is not None:
            return frames
        if section.counter:
            raise _no_counter(section)
    size = (section.width, section.height)
    return open_container(section.address, live=True, timeout_s=timeout_s, size=size).frames


def _no_counter(section: recipe.Video) -> SourceError:
    return SourceError(
        f"{without_secrets(section.address)}: [source] counter names a header of the frames of a camera that "
        "sends MJPEG over HTTP, and this one does not: take the key out"
    )
