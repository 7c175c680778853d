"""Decodes the packets of a video, and reports which frames are damaged.

A key frame is a frame that is decoded without other frames. A frame is good if, from its key frame's packet to
its own packet, no packet was damaged, was missing or caused a warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import av
import av.logging
import numpy as np
from av.codec.context import Flags
from numpy.typing import NDArray

from ...errors import PictureError
from .h264 import FrameNumbers

#: Codecs in which each packet gives one frame.
_EVERY_PACKET_SHOWS = ("h264", "hevc")


@dataclass(frozen=True)
class DecodedFrame:
    """A frame, or None if the decoder made no frame of a packet. `wrong` says what is damaged, or is empty."""

    frame: av.VideoFrame | None
    wrong: str


class Decoder:
    """Decodes the packets of a video into frames, in the order in which the frames are shown."""

    def __init__(self, stream: av.VideoStream) -> None:
        self._context = stream.codec_context
        # With one thread a frame comes out as soon as it can, together with its warnings.
        self._context.thread_count = 1
        self._context.flags |= Flags.output_corrupt | Flags.copy_opaque
        self._context.options = {"err_detect": "crccheck+bitstream+buffer"}
        self._every_packet_shows = self._context.name in _EVERY_PACKET_SHOWS
        self._numbers = FrameNumbers(self._context.extradata or b"") if self._context.name == "h264" else None
        self._count = 0
        # Number and time of the last key frames' packets; what is wrong with damaged packets, by number.
        self._keys: list[tuple[int, int | None]] = []
        self._damage: dict[int, str] = {}
        self._unseen: set[int] = set()

    def feed(self, packet: av.Packet[av.VideoStream] | None, said: Sequence[str]) -> Iterator[DecodedFrame]:
        """Decode a packet, and yield the frames that are ready.

        A `packet` of None is the end of the stream. `said` holds FFmpeg's warnings from reading the packet.
        """
        if packet is not None:
            self._note(packet, said)
        with av.logging.Capture() as logged:
            try:
                frames = self._context.decode(packet)
            except av.FFmpegError as error:
                frames = []
                self._note_damage(self._count, f"the decoder says: {error.strerror}")
        if warnings := warnings_of(logged):
            self._note_damage(self._count, f"the decoder says: {'; '.join(warnings)}")
        for frame in frames:
            yield from self._shown(frame)
        if packet is None:
            yield from self._lost(self._count + 1)

    @property
    def began(self) -> bool:
        """Return whether the first key frame has come. Before it, no frame can be decoded whole."""
        return bool(self._keys)

    def _note(self, packet: av.Packet[av.VideoStream], said: Sequence[str]) -> None:
        self._count += 1
        packet.opaque = self._count
        key, missing = self._numbers.look(bytes(packet)) if self._numbers else (packet.is_keyframe, "")
        if key:
            self._keys = [*self._keys[-2:], (self._count, packet.pts)]
            self._damage = {number: text for number, text in self._damage.items() if number >= self._keys[0][0]}
        if said:
            self._note_damage(self._count, f"the stream is damaged: {'; '.join(said)}")
        elif packet.is_corrupt:
            self._note_damage(self._count, "the stream is damaged: a packet is not whole")
        elif missing:
            self._note_damage(self._count, missing)
        self._unseen.add(self._count)

    def _note_damage(self, number: int, wrong: str) -> None:
        """Note what is wrong with a packet, unless a packet since the key frame is already noted as damaged."""
        since = self._keys[-1][0] if self._keys else 0
        if not any(since <= at <= number for at in self._damage):
            self._damage[number] = wrong

    def _shown(self, frame: av.VideoFrame) -> Iterator[DecodedFrame]:
        number = frame.opaque if isinstance(frame.opaque, int) else self._count
        self._unseen.discard(number)
        if frame.is_corrupt:
            self._note_damage(number, "the decoder made up a part of it")
        if any(number == key for key, _ in self._keys):
            yield from self._lost(number)
        yield DecodedFrame(frame, self._wrong(frame, number))

    def _lost(self, before: int) -> Iterator[DecodedFrame]:
        """Yield a frame without pixels for each packet before number `before` that has given no frame."""
        for number in sorted(number for number in self._unseen if number < before):
            self._unseen.discard(number)
            if self._every_packet_shows:
                yield DecodedFrame(None, self._damage.get(number, "the decoder made no frame of it"))

    def _wrong(self, frame: av.VideoFrame, number: int) -> str:
        keys = [key for key in self._keys if key[0] <= number]
        if keys and frame.pts is not None and keys[-1][1] is not None and frame.pts < keys[-1][1]:
            # The frame is shown before the last key frame, so it may depend on packets before that one.
            keys.pop()
        if not keys:
            return "its key frame is missing"
        damaged = [at for at in self._damage if keys[-1][0] <= at <= number]
        if not damaged:
            return ""
        first = min(damaged)
        return self._damage[first] + ("" if first == number else ", in a frame that this one is made of")


def pixels_of(frame: av.VideoFrame) -> NDArray[Any]:
    """Return a frame as `(H, W)` grey or `(H, W, 3)` BGR uint8. Raises PictureError above 8 bits a channel."""
    bits = max(component.bits for component in frame.format.components)
    if bits > 8:
        raise PictureError(f"expected 8 bits a channel, found {bits} ({frame.format.name})")
    grey = frame.format.name in ("gray", "gray8")
    try:
        return np.asarray(frame.to_ndarray(format="gray" if grey else "bgr24"))
    except (av.FFmpegError, ValueError) as error:
        raise PictureError(f"cannot be turned into pixels ({frame.format.name}): {error}") from error


def pixels_later(frame: av.VideoFrame, name: str) -> partial[NDArray[Any]]:
    """Return a function that gives a frame's `(H, W)` or `(H, W, 3)` pixels. Error texts begin with `name`."""
    return partial(_named_pixels, frame, name)


def _named_pixels(frame: av.VideoFrame, name: str) -> NDArray[Any]:
    """Return a frame's pixels as `(H, W)` or `(H, W, 3)` uint8. Each PictureError starts with `name`."""
    try:
        return pixels_of(frame)
    except PictureError as error:
        raise PictureError(f"{name}: {error}") from error


def warnings_of(logged: Sequence[tuple[int, str, str]], most: int = av.logging.WARNING) -> list[str]:
    """Return the texts that FFmpeg logged at level `most` or at a more severe level, without repetitions."""
    return list(dict.fromkeys(text.strip() for level, _, text in logged if level <= most))
