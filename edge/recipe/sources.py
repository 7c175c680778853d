"""Defines the sections of a recipe that say where pictures come from: sources and cameras."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Union, cast

from msgspec import Meta

from .keys import Bayer, Header, Name, PositiveInt, Rate, Section


class _Source(Section, frozen=True, kw_only=True, tag_field="kind"):
    """The keys that all sources have: the camera's name, and the size and colour of its frames."""

    camera: Name = "camera"  # its name in verdicts
    width: Annotated[int, Meta(ge=8, le=16384)]
    height: Annotated[int, Meta(ge=8, le=16384)]
    # bayer-...: raw frames of a folder, by the colour filters over the first 2x2 pixels
    color: Literal["gray", "bgr", "bayer-rggb", "bayer-grbg", "bayer-gbrg", "bayer-bggr"] = "gray"

    @property
    def bayer(self) -> Bayer | None:
        """The colour filters over the first 2x2 pixels of a raw frame. None if the frames are not raw."""
        return cast(Bayer, self.color[6:]) if self.color.startswith("bayer-") else None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one frame: `(H, W)` if it is grey or raw, `(H, W, 3)` if it is BGR."""
        return (self.height, self.width, 3) if self.color == "bgr" else (self.height, self.width)

    @property
    def nbytes(self) -> int:
        """The number of bytes in one uint8 frame."""
        return math.prod(self.shape)


class Synthetic(_Source, frozen=True, kw_only=True, tag="synthetic"):
    """A source of rendered pictures of bare boards. Some boards have defects at known places."""

    seed: Annotated[int, Meta(ge=0)] = 0
    parts: Annotated[int, Meta(ge=0)] = 0  # 0: no end
    fps: Annotated[float, Meta(gt=0, le=10000)] = 20.0
    defect_rate: Annotated[float, Meta(ge=0, le=1)] = 0.3
    views: PositiveInt = 4  # number of board designs, which take turns
    truth: str = ""  # file for the true defects of each board, one line of JSON a part


class Folder(_Source, frozen=True, kw_only=True, tag="folder"):
    """A source of a folder's pictures: sorted by name or, if `watch` is true, as new pictures appear."""

    files: Annotated[
        str,
        Meta(description="a path with *, ** and ?, in which {view} may stand for the part that is the view"),
    ]
    fps: Annotated[float, Meta(gt=0, le=10000)] = 20.0
    repeat: bool = False  # begin anew after the last picture
    watch: bool = False  # wait for new pictures; take each once, oldest first


class Video(_Source, frozen=True, kw_only=True, tag="video"):
    """A source of frames from a video file, an HTTP or RTSP address, a V4L2 device or a GStreamer string."""

    address: Annotated[
        str,
        Meta(
            description="a path, http:// or rtsp://..., /dev/video0, or a GStreamer string that ends in appsink"
        ),
    ]
    backend: Literal["auto", "ffmpeg", "v4l2", "gstreamer"] = "auto"
    timeout_ms: Annotated[int, Meta(ge=50, le=60000)] = 2000  # without a frame for this long the camera is lost
    paced: bool = False  # play a file at its own rate instead of as fast as it reads
    counter: Header = ""  # HTTP header in which each frame has the camera's number of its trigger
    newest: bool = False  # take a camera's newest frame and skip older ones, instead of making them `unknown`
    # A camera's parts are `unknown` after so many frames like the one before, bit for bit; 0: never.
    frozen_after: Annotated[int, Meta(ge=0, le=1000)] = 1


class SimulatedBelt(_Source, frozen=True, kw_only=True, tag="belt"):
    """A camera at a simulated belt with rendered boards. Some of its triggers are lost, doubled or spurious.

    Cameras with the same seed, pitch and number of parts see the same boards. The unit of `pitch` and `jitter`
    is that of the belt: ms, or ticks of the encoder.
    """

    seed: Annotated[int, Meta(ge=0)] = 0
    parts: Annotated[int, Meta(ge=0)] = 0  # 0: no end
    pitch: Annotated[float, Meta(gt=0)] = 100.0  # from board to board
    jitter: Annotated[float, Meta(ge=0)] = 0.0  # a trigger comes this much too early or too late at most
    lost: Rate = 0.0  # share of the boards that this camera's trigger does not see
    doubled: Rate = 0.0  # share of the triggers that are followed by another one of the same board
    spurious: Rate = 0.0  # share of the boards that are followed by a trigger of the empty belt
    start_ms: Annotated[float, Meta(ge=0, le=60000)] = 2000.0  # from the line's start to the first board
    defect_rate: Rate = 0.3
    views: PositiveInt = 4  # number of board designs, which take turns
    truth: str = ""  # file for what each trigger shows, one line of JSON a trigger


Source = Union[Synthetic, Folder, Video, SimulatedBelt]  # noqa: UP007  (on 3.10 msgspec cannot read `|` of strings)


class Camera(Section, frozen=True, kw_only=True):
    """One [[camera]] section: one of several cameras that see each part, at its place on the belt."""

    name: Name
    at: Annotated[float, Meta(ge=0)] = 0.0  # ms, or ticks of the encoder, behind the first camera
    window: Annotated[float, Meta(gt=0)] | None = None  # how far from there it may be seen, same unit
    source: Source
