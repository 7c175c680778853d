"""Opens a video file, an RTSP stream or a V4L2 device through FFmpeg, and yields its frames.

Each frame is checked for damage. The project's own picture reader decodes a stream of single pictures (MJPEG,
PNG). FFmpeg decodes every other stream.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import av
import av.logging

from ...documents.address import without_secrets
from ...errors import SourceError
from ..stream_frame import StreamFrame, damaged, decoded, encoded
from .decoder import Decoder, pixels_later, warnings_of

_PICTURES = ("mjpeg", "png")
_OPTIONS = {
    # By default FFmpeg reads a stream for a second before the first frame; 0.2 s are enough for a camera.
    "rtsp": {"rtsp_transport": "tcp", "analyzeduration": "200000", "probesize": "100000"}
}

# A decoder that makes up pixels says so only by a warning.
av.logging.set_level(av.logging.WARNING)
av.logging.set_skip_repeated(False)
# A warning is told with its frame, so it need not be logged.
logging.getLogger("libav").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class Opened:
    """An open video: its frame rate, and an iterator over its frames."""

    fps: float  # 0 if the stream does not tell it
    frames: Iterator[StreamFrame]


def open_container(
    address: str, *, live: bool, timeout_s: float = 0.0, size: tuple[int, int] | None = None
) -> Opened:
    """Open a video file or, if `live`, a camera. A camera's frames begin with the first key frame.

    `size` is the width and height in pixels that are requested from a V4L2 device. Raises SourceError if the
    address cannot be opened.
    """
    name = without_secrets(address)
    options, format = dict(_OPTIONS.get(address.partition(":")[0], {})), None
    if address.startswith("/dev/video"):
        format = "v4l2"
        if size:
            options["video_size"] = f"{size[0]}x{size[1]}"
    with av.logging.Capture() as logged:
        try:
            container = av.open(address, format=format, options=options, timeout=timeout_s or None)
        except (av.FFmpegError, OSError, ValueError) as error:
            said = "; ".join(
                [str(error.strerror if isinstance(error, OSError) else error), *warnings_of(logged)]
            )
            raise SourceError(f"{name}: cannot be opened: {without_secrets(said)}: is it there?") from error
    if not container.streams.video:
        container.close()
        raise SourceError(f"{name}: cannot be opened: there is no video in it")
    stream = container.streams.video[0]
    demuxed = _Demuxed(container, stream, name, live, warnings_of(logged, av.logging.ERROR))
    return Opened(float(stream.average_rate or 0), _frames(demuxed))


@dataclass(frozen=True)
class _Demuxed:
    container: av.container.InputContainer
    stream: av.VideoStream
    name: str
    live: bool
    early: list[str]  # errors that FFmpeg logged while it opened the stream

    def __iter__(self) -> Iterator[tuple[av.Packet[av.VideoStream] | None, list[str]]]:
        """Yield each packet of the stream, and None at its end, with the warnings that FFmpeg logged for it."""
        packets, count = self.container.demux(self.stream), 0
        while True:
            with av.logging.Capture() as logged:
                try:
                    packet, broke = next(packets, None), list[str]()
                except (av.FFmpegError, OSError) as error:
                    packet, broke = None, [str(error.strerror)]
            said = [*warnings_of(logged), *broke]
            if packet is None or (packet.dts is packet.pts is None and not packet.size):
                yield None, [] if self.live else self._end_of_file(count, said)
                if self.live:
                    told = "; ".join(["the stream ended or broke off", *said])
                    raise SourceError(f"{self.name}: {told}: check camera and cable")
                return
            count += 1
            yield packet, said

    def _end_of_file(self, count: int, said: list[str]) -> list[str]:
        """Return messages that show a cut-off file: FFmpeg's errors, and whether frames are missing."""
        short = f"expected {self.stream.frames} frames, found {count}"
        return [*self.early, *said, *([short] if count < self.stream.frames else [])]


def _frames(demuxed: _Demuxed) -> Iterator[StreamFrame]:
    pictures = demuxed.stream.codec_context.name in _PICTURES
    frames = _pictures(demuxed) if pictures else _decoded(demuxed)
    name = demuxed.name
    with demuxed.container:
        for count, (pixels, wrong) in enumerate(frames, start=1):
            ref = f"frame {count}"
            if wrong or pixels is None:
                yield damaged(wrong, name, ref)
            elif isinstance(pixels, bytes):
                yield encoded(pixels, name, ref)
            else:
                yield decoded(pixels_later(pixels, f"{name}, {ref}"), ref)


def _pictures(demuxed: _Demuxed) -> Iterator[tuple[bytes | None, str]]:
    """Yield pairs: an encoded picture and an empty text, or None and a text that describes the damage."""
    if demuxed.live and demuxed.early:
        yield None, f"the stream is damaged: {'; '.join(demuxed.early)}"
    for packet, said in demuxed:
        if packet is None and said:
            yield None, f"the stream breaks off: {'; '.join(said)}"
        elif packet is not None and (packet.is_corrupt or not packet.size):
            yield None, f"the stream is damaged: {'; '.join(said or ['a packet is not whole'])}"
        elif packet is not None:
            # The warning is about data before this picture, which the reader of pictures checks by itself.
            if said:
                yield None, f"the stream is damaged: {'; '.join(said)}"
            yield bytes(packet), ""


def _decoded(demuxed: _Demuxed) -> Iterator[tuple[av.VideoFrame | None, str]]:
    """Yield each frame, or None if it is missing, with a text about its damage. Empty means undamaged."""
    coded = Decoder(demuxed.stream)
    for packet, said in demuxed:
        # A decoder would take an empty packet for the end.
        if packet is not None and not packet.size:
            yield None, f"the stream is damaged: {'; '.join(said or ['a packet is not whole'])}"
            continue
        for one in coded.feed(packet, said):
            if coded.began or not demuxed.live:
                yield one.frame, one.wrong
        if packet is None and said:
            yield None, f"the stream breaks off: {'; '.join(said)}"
