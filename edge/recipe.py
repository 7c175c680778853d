"""Defines the sections and keys of a line's recipe, with their types, ranges and defaults.

A line engineer writes the recipe by hand, as one TOML file, which recipe_file.py reads. An error message
about a key says what to write there. This advice is the `description` of the key's type or, if there is none,
is made from the type and its range (documents/wanted.py).
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, Union, cast

import msgspec
from msgspec import Meta, Struct, field

from .endpoints import MOST_PORT
from .manifest import Precision

Motion = Literal["none", "shift", "rigid"]
#: Engines that are compiled for one kind of GPU.
Runtime = Literal["tensorrt", "tensorrt_rtx"]
#: All engines by name; `constant` has no network and tests the line.
EngineKind = Literal[Runtime, "openvino", "onnxruntime", "constant"]
PositiveInt = Annotated[int, Meta(ge=1)]
Port = Annotated[int, Meta(ge=0, le=MOST_PORT)]
Crop = Annotated[
    tuple[int, int, int, int], Meta(description="a list of 4 whole numbers: x, y, width and height in pixels")
]
Tiles = Annotated[
    tuple[PositiveInt, PositiveInt],
    Meta(description="a list of 2 whole numbers from 1 on: columns and rows"),
]
#: The colour filters over the first 2x2 pixels of a raw frame, rows first.
Bayer = Literal["rggb", "grbg", "gbrg", "bggr"]
Name = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,30}\Z",
        description="a name of letters, digits, - and _, starting with a letter or digit, at most 31",
    ),
]
Header = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z0-9_-]{0,60}\Z", description="the name of an HTTP header, such as X-Frame-Number"),
]
LEAST_HEARTBEAT_MS = 50
#: Number of subscribers that can confirm.
MOST_CONFIRMING = 64
#: A verdict names each judge and has to fit into the ledger's record.
MOST_JUDGES = 16
MOST_CAMERAS = 8


class _Section(Struct, frozen=True, forbid_unknown_fields=True):
    pass


class _Source(_Section, frozen=True, kw_only=True, tag_field="kind"):
    """The keys that all sources have: the camera's name, and the size and colour of its frames."""

    camera: Name = "camera"
    width: Annotated[int, Meta(ge=8, le=16384)]
    height: Annotated[int, Meta(ge=8, le=16384)]
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
    repeat: bool = False
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


Rate = Annotated[float, Meta(ge=0, le=1)]


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


class Camera(_Section, frozen=True, kw_only=True):
    """One [[camera]] section: one of several cameras that see each part, at its place on the belt."""

    name: Name
    at: Annotated[float, Meta(ge=0)] = 0.0  # ms, or ticks of the encoder, behind the first camera
    window: Annotated[float, Meta(gt=0)] | None = None  # how far from there it may be seen, same unit
    source: Source


class SimulatedEncoder(_Section, frozen=True, kw_only=True, tag_field="kind", tag="simulated"):
    """A belt that is computed from the time: its speed and slip, and how it stops and goes back."""

    ticks_per_s: Annotated[float, Meta(gt=0, le=1e6)] = 1000.0
    slip: Annotated[float, Meta(ge=0, le=0.9)] = 0.0  # the speed rises and falls by this share of it
    stop_every_s: Annotated[float, Meta(ge=0, le=3600)] = 0.0  # 0: it never stops
    stop_s: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    back_s: Annotated[float, Meta(ge=0, le=3600)] = 0.0  # how long it goes back after a stop
    seed: Annotated[int, Meta(ge=0)] = 0


class SerialEncoder(_Section, frozen=True, kw_only=True, tag_field="kind", tag="serial"):
    """An encoder that sends its count as lines of text over a serial port."""

    device: Annotated[str, Meta(description="a serial port, such as /dev/ttyACM0")]
    baud: Literal[9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600] = 115200
    bits: Literal[16, 32, 64] = 32  # after which its count starts again


class CounterEncoder(_Section, frozen=True, kw_only=True, tag_field="kind", tag="counter"):
    """A counter of the machine itself, as Linux shows it under /sys/bus/counter/devices."""

    device: Annotated[str, Meta(description="a folder such as /sys/bus/counter/devices/counter0/count0")]
    bits: Literal[16, 32, 64] = 32  # after which its count starts again


class ModbusEncoder(_Section, frozen=True, kw_only=True, tag_field="kind", tag="modbus"):
    """A register of a PLC or of an encoder that holds the count, read by Modbus TCP."""

    host: str
    port: Annotated[int, Meta(ge=1, le=MOST_PORT)] = 502
    unit: Annotated[int, Meta(ge=0, le=247)] = 1
    register: Annotated[int, Meta(ge=0, le=65_534)]  # its address, counted from 0
    table: Literal["holding", "input"] = "holding"
    bits: Literal[16, 32] = 16  # 32: two registers
    high_first: bool = True  # of 32 bits, the first register holds the upper half


Encoder = Union[SimulatedEncoder, SerialEncoder, CounterEncoder, ModbusEncoder]  # noqa: UP007


class Belt(_Section, frozen=True, kw_only=True):
    """What tells where parts are: the time, on a belt with a constant speed, or an encoder."""

    by: Literal["time", "encoder"] = "time"
    encoder: Encoder | None = None
    most_ticks_per_s: Annotated[float, Meta(gt=0)] = 100_000.0  # a faster count: the encoder was reset


class Ejector(_Section, frozen=True, kw_only=True):
    """Where rejected parts are blown off, and when the ejector has to be told of them."""

    at: Annotated[float, Meta(gt=0)]  # ms, or ticks of the encoder, behind the first camera
    lead_ms: Annotated[float, Meta(ge=0, le=60000)] = 0.0  # how early it has to be told
    min_gap: Annotated[float, Meta(ge=0)] = 0.0  # it cannot part two parts that are nearer; unit as `at`


class Timing(_Section, frozen=True, kw_only=True):
    """How long a part may take, and how many parts may be in progress at the same time."""

    deadline_ms: Annotated[float, Meta(ge=5, le=60000)] = 200.0  # from capture to the verdict
    guard_ms: Annotated[float, Meta(ge=0.5, le=10000)] = 10.0  # this long before it a part turns `unknown`
    slots: Annotated[int, Meta(ge=3, le=1024)] = 16  # number of parts whose pictures are held at once


class Register(_Section, frozen=True, kw_only=True):
    """How far a part may be shifted and turned from its master, and how well it must fit once aligned."""

    motion: Motion = "rigid"
    max_shift_px: Annotated[float, Meta(gt=0)] = 16.0
    max_rotation_deg: Annotated[float, Meta(ge=0, le=45)] = 3.0
    min_correlation: Annotated[float, Meta(ge=0, le=1)] = 0.5  # between the registered part and its master
    max_residual_px: Annotated[float, Meta(gt=0)] | None = None  # in the worst quarter; default: the bundle's
    max_difference: Annotated[float, Meta(gt=0)] | None = None  # in the worst window; default: the bundle's


class Preprocess(_Section, frozen=True, kw_only=True):
    """How each frame is cropped, checked for light and aligned with its master before a model sees it."""

    crop: Crop | None = None  # x, y, width, height in the frame; default: the whole frame
    min_contrast: Annotated[float, Meta(ge=0, le=255)] = 8.0  # grey levels, 1st to 99th percentile; else `dark`
    register: Register = field(default_factory=Register)


class JudgeChoice(_Section, frozen=True, kw_only=True):
    """One [[judge]] section: one of several models that inspect each part."""

    name: Name  # its name in verdicts
    camera: str = ""  # name of the camera whose frames it inspects; default: those of every camera
    bundle: Annotated[str, Meta(description="the folder of a model bundle")]
    masters: str = ""  # path with `{view}` in the place of the view; default: the masters in the bundle
    drawings: str = ""  # for a matcher: path, with * and ?, of drawings of the expected product
    ignore: str = ""  # path of a mask of the crop's size, not black where nothing is judged
    crop: Crop | None = None  # default: crop of [preprocess]
    tiles: Tiles | None = None  # into which the crop is cut; others than the bundle's need own thresholds
    thresholds: dict[str, float] = field(default_factory=dict)  # by kind of defect; default: the bundle's


class Fusion(_Section, frozen=True, kw_only=True):
    """How the p-values of all judges become one p-value, and what share of good parts may be rejected."""

    how: Literal["bonferroni", "fisher"] = "bonferroni"  # fisher: only for judges whose errors are independent
    false_reject: Annotated[float, Meta(gt=0, lt=1)]


class EngineChoice(_Section, frozen=True, kw_only=True):
    """Which engine runs the models, in which precision, and how much of the machine it may use."""

    kind: Literal["auto", EngineKind] = "auto"
    precision: Literal["auto", Precision] = "auto"
    lanes: Annotated[int, Meta(ge=1, le=8)] = 2
    threads: Annotated[int, Meta(ge=0, le=256)] = 0  # 0: as many as the machine has cores
    reference_mb: PositiveInt = 256  # memory for the features of masters
    spare: bool | None = None  # whether a second process keeps its engines ready; default: on a CPU


class Rule(_Section, frozen=True, kw_only=True):
    """When the outputs of a model reject a part, and what happens to a part that is `unknown`."""

    thresholds: dict[str, float] = field(default_factory=dict)  # by kind of defect; default: the bundle's
    min_area_px: Annotated[int, Meta(ge=0)] = 0  # smaller regions do not reject the part
    regions: Literal["boxes", "masks"] = "boxes"  # masks: each region of a verdict also says which pixels
    unknown: dict[str, Literal["reject", "accept"]] = field(default_factory=dict)  # by reason; default: reject


class Publish(_Section, frozen=True, kw_only=True):
    """Where verdicts are sent, who may connect there, and who has to confirm that it has heard them."""

    endpoints: tuple[str, ...] = ("tcp://127.0.0.1:5571",)
    heartbeat_ms: Annotated[int, Meta(ge=LEAST_HEARTBEAT_MS, le=60000)] = 1000
    replay: str = ""  # endpoint at which subscribers ask for verdicts that they missed; default: none
    confirm: Annotated[
        tuple[Name, ...],
        Meta(max_length=MOST_CONFIRMING, description="a list of at most 64 names of subscribers"),
    ] = ()  # the subscribers that must confirm each verdict to the replay endpoint
    confirm_ms: Annotated[int, Meta(ge=100, le=600_000)] = 5000  # a verdict is to be confirmed within this time
    keys: str = ""  # folder with the line's keys; with it, each tcp:// endpoint asks who connects for a key


class AlarmLimits(_Section, frozen=True, kw_only=True):
    """When alarms are raised. Parts that are not accepted are called rejects here."""

    consecutive: PositiveInt = 10  # rejects in a row
    consecutive_of: dict[str, PositiveInt] = field(default_factory=dict)  # rejects in a row for one reason
    reject_rate: Annotated[float, Meta(gt=0, lt=1)] = 0.2  # share of rejects that is allowed
    window: Annotated[int, Meta(ge=10, le=100_000)] = 200  # last parts of which the share is counted
    drift_false_alarm: Annotated[float, Meta(gt=0, le=0.1)] = 1e-4  # probability while nothing changes
    learn: Annotated[int, Meta(ge=10, le=10_000)] = 50  # accepted parts of each view that show what is normal
    focus: Annotated[float, Meta(gt=0, lt=1)] = 0.3  # loss of sharpness, as a share
    exposure: Annotated[float, Meta(gt=0)] = 0.2  # change of brightness, as a share
    saturated: Annotated[float, Meta(gt=0, le=1)] = 0.05  # further share of saturated pixels
    shift_px: Annotated[float, Meta(gt=0)] = 3.0  # change of where parts lie
    rotation_deg: Annotated[float, Meta(gt=0)] = 1.0  # change of how parts are turned
    residual_px: Annotated[float, Meta(gt=0)] = 0.5  # by how much worse parts fit their master
    frozen: PositiveInt = 2  # pictures in a row that are the same as the one before
    stage_failures: PositiveInt = 3  # of one stage within 5 minutes


class MetricsPort(_Section, frozen=True, kw_only=True):
    """The address at which Prometheus fetches the metrics."""

    host: str = "127.0.0.1"
    port: Port = 9178  # 0: no metrics


class BlackBox(_Section, frozen=True, kw_only=True):
    """How many of the last parts the recorder holds in memory, and after what it writes them to a file."""

    on: tuple[Literal["unknown", "reject", "fault"], ...] = ("unknown", "fault")  # empty: never
    parts: Annotated[int, Meta(ge=1, le=1000)] = 32  # in a file
    after: Annotated[int, Meta(ge=0, le=999)] = 8  # of these, so many that come after the event
    memory_mb: PositiveInt = 256  # for the frames that are held
    per_hour: PositiveInt = 6  # files an hour at most, so that a line that rejects everything fills no disk
    disk_mb: PositiveInt = 2000  # for all files; the oldest are deleted first


class Recorder(_Section, frozen=True, kw_only=True):
    """Where pictures and black boxes are kept, of which parts and how long."""

    folder: Annotated[str, Meta(pattern=r"\S", description="a folder for pictures, on a disk with room")]
    passes: Annotated[float, Meta(ge=0, le=1)] = 0.01  # share of the passed parts of which a picture is kept
    passes_days: PositiveInt = 7
    days: PositiveInt = 30  # pictures of rejected and unknown parts, and black boxes
    pictures_mb: PositiveInt = 10_000  # for all; the oldest are deleted first, passed parts before others
    reserve_mb: Annotated[int, Meta(ge=0)] = 1000  # with less room on the disk, no picture is written
    box: BlackBox = field(default_factory=BlackBox)


class JournalChoice(_Section, frozen=True, kw_only=True):
    """Where the journal of the line's verdicts is kept, and how long. A verdict takes about 2 kB."""

    folder: str = ""  # default: the folder `journal` in the state folder
    keep_days: Annotated[int, Meta(ge=0, le=36500)] = 0  # older verdicts are deleted; 0: none is
    keep_mb: Annotated[int, Meta(ge=0)] = 10_000  # of a larger file, the oldest verdicts are deleted; 0: none


class Challenge(_Section, frozen=True, kw_only=True):
    """How often the line has to be tested with known parts, and what happens if a test is overdue or fails."""

    every_h: Annotated[float, Meta(gt=0, le=8760)]
    overdue: Literal["alarm", "hold"] = "hold"  # hold: the line rejects every part until a test passes


class Recipe(_Section, frozen=True, kw_only=True):
    """What a line inspects: its models, its sources of frames, and all settings.

    With [[camera]] sections, `source` is that of the first camera: `read_recipe` puts it there.
    """

    line: Name
    bundle: str = ""  # the model that judges; for several models write [[judge]] sections instead
    masters: str = ""  # path with `{view}` in the place of the view; default: the masters in the bundle
    drawings: str = ""  # for a matcher: path, with * and ?, of drawings of the expected product
    ignore: str = ""  # path of a mask of the crop's size, not black where nothing is judged
    tiles: Tiles | None = None  # into which the crop is cut; others than the bundle's need own thresholds
    judge: tuple[JudgeChoice, ...] = ()
    fusion: Fusion | None = None  # default: each judge rejects by its own threshold
    masters_kept: PositiveInt = 64  # views whose masters are in memory, about 3 MB each; others are read again
    camera: tuple[Camera, ...] = ()  # several cameras; [source] is the short form for one
    source: Source = cast("Source", None)
    belt: Belt = field(default_factory=Belt)
    ejector: Ejector | None = None  # default: the deadline is deadline_ms of [timing] after capture
    timing: Timing = field(default_factory=Timing)
    preprocess: Preprocess = field(default_factory=Preprocess)
    engine: EngineChoice = field(default_factory=EngineChoice)
    rule: Rule = field(default_factory=Rule)
    publish: Publish = field(default_factory=Publish)
    metrics: MetricsPort = field(default_factory=MetricsPort)
    challenge: Challenge | None = None  # default: tests are made when somebody likes
    recorder: Recorder | None = None  # default: no pictures are kept
    journal: JournalChoice | None = None  # default: no journal is kept
    alarms: AlarmLimits = field(default_factory=AlarmLimits)

    def key(self, judge: JudgeChoice, key: str) -> str:
        """Return the place of a judge's key for error messages, such as `[[judge]] "top" crop`."""
        if self.judge:
            return f'[[judge]] "{judge.name}" {key}'
        return f"[rule.{key}]" if key == "thresholds" else key

    def beating(self, period_ms: int) -> Recipe:
        """Return a copy whose heartbeat period is `period_ms` or less, but not below LEAST_HEARTBEAT_MS."""
        heartbeat_ms = min(self.publish.heartbeat_ms, max(period_ms, LEAST_HEARTBEAT_MS))
        return msgspec.structs.replace(
            self, publish=msgspec.structs.replace(self.publish, heartbeat_ms=heartbeat_ms)
        )

    @property
    def cameras(self) -> tuple[Camera, ...]:
        """The cameras of the line: those in [[camera]] sections, or the single one of [source]."""
        return self.camera or (Camera(name=self.source.camera, source=self.source),)

    def seen_by(self, camera: Camera) -> Recipe:
        """Return the recipe for one camera alone, as if it stood in [source], with the judges of its frames."""
        judges = tuple(judge for judge in self.judge if judge.camera in ("", camera.name))
        return msgspec.structs.replace(self, source=camera.source, camera=(), judge=judges)

    @property
    def judges(self) -> tuple[JudgeChoice, ...]:
        """The models that inspect each part: those in [[judge]] sections, or the single model."""
        return self.judge or (
            JudgeChoice(
                name="model",
                bundle=self.bundle,
                masters=self.masters,
                drawings=self.drawings,
                ignore=self.ignore,
                tiles=self.tiles,
                thresholds=self.rule.thresholds,
            ),
        )
