"""Opens what FFmpeg demuxes - a film, an RTSP stream, a V4L2 device - and gives its frames, checked.

Pictures that come encoded one by one (MJPEG, PNG) go to the reader of pictures; FFmpeg decodes only the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import av
import av.logging

from ...documents.address import shown
from ...errors import SourceError
from ..stream_frame import StreamFrame, damaged, decoded, encoded
from .decoder import Decoder, pixels_later, warnings_of

_PICTURES = ("mjpeg", "png")
_OPTIONS = {
    # FFmpeg looks at a stream for a second before it shows the first frame; a fifth is enough for a camera.
    "rtsp": {"rtsp_transport": "tcp", "analyzeduration": "200000", "probesize": "100000"},
}

av.logging.set_level(av.logging.WARNING)  # else nobody is told what a decoder made up
av.logging.set_skip_repeated(False)
logging.getLogger("libav").setLevel(logging.CRITICAL)  # what matters of that is told with the frame


@dataclass(frozen=True)
class Opened:
    """A stream that is open."""

    fps: float  # 0 where the stream tells none
    frames: Iterator[StreamFrame]


def open_container(
    address: str, *, live: bool, timeout_s: float = 0.0, size: tuple[int, int] | None = None
) -> Opened:
    """The frames of a film or, if `live`, of a camera, which begins with the first key frame that comes.

    `size`, width and height, is what a V4L2 device is asked for. Raises SourceError where it cannot be opened.
    """
    name = shown(address)
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
            raise SourceError(f"{name}: cannot be opened: {shown(said)}: is it there?") from error
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
    early: list[str]  # what FFmpeg found wrong while it looked at the first frames

    def __iter__(self) -> Iterator[tuple[av.Packet[av.VideoStream] | None, list[str]]]:
        """Packets and, behind the last one, None, each with what FFmpeg warned of on its way there."""
        packets, count = self.container.demux(self.stream), 0
        while True:
            with av.logging.Capture() as logged:
                try:
                    packet, broke = next(packets, None), list[str]()
                except (av.FFmpegError, OSError) as error:
                    packet, broke = None, [str(error.strerror)]
            said = [*warnings_of(logged), *broke]
            if packet is None or (packet.dts is packet.pts is None and not packet.size):
                yield None, [] if self.live else self._end_of_film(count, said)
                if self.live:
                    told = "; ".join(["the stream ended or broke off", *said])
                    raise SourceError(f"{self.name}: {told}: look at camera and cable")
                return
            count += 1
            yield packet, said

    def _end_of_film(self, count: int, said: list[str]) -> list[str]:
        """What tells that it should go on; FFmpeg may meet a short one's end while it looks at its start."""
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
    """Each packet's picture, or None where one was lost, and what is wrong with it."""
    if demuxed.live and demuxed.early:
        yield None, f"the stream is damaged: {'; '.join(demuxed.early)}"
    for packet, said in demuxed:
        if packet is None and said:
            yield None, f"the stream breaks off: {'; '.join(said)}"
        elif packet is not None and (packet.is_corrupt or not packet.size):
            yield None, f"the stream is damaged: {'; '.join(said or ['a packet is not whole'])}"
        elif packet is not None:
            if said:  # of what came before: the reader of pictures finds what is wrong with this one
                yield None, f"the stream is damaged: {'; '.join(said)}"
            yield bytes(packet), ""


def _decoded(demuxed: _Demuxed) -> Iterator[tuple[av.VideoFrame | None, str]]:
    """Each frame, or None where there should be one, and what is wrong with it."""
    coded = Decoder(demuxed.stream)
    for packet, said in demuxed:
        if packet is not None and not packet.size:  # to a decoder it would be the end
            yield None, f"the stream is damaged: {'; '.join(said or ['a packet is not whole'])}"
            continue
        for one in coded.feed(packet, said):
            if coded.began or not demuxed.live:
                yield one.frame, one.wrong
        if packet is None and said:
            yield None, f"the stream breaks off: {'; '.join(said)}"
