"""Defines the messages of a line: Frame, Tensor, Prediction, Verdict, Unknown, Heartbeat and Alarm.

For a part, capture sends a Frame, preprocess a Tensor, infer a Prediction and publish a Verdict. A stage that
cannot judge the part sends Unknown instead. Stages send each other only these small messages: pixels, model
inputs and outputs stay in the part's slot in shared memory. Times are integer nanoseconds of the monotonic
clock unless a name says otherwise.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Literal, Union, get_args

from msgspec import UNSET, Struct, UnsetType

#: Longest texts of a part, in bytes of UTF-8.
VIEW_BYTES, SOURCE_REF_BYTES = 128, 512
#: The slot of a part that nobody saw.
UNSEEN_SLOT = -2

#: blind: parts come and the last ones could not be judged, or parts would not be seen because capture failed.
#: held: the line was told to reject every part.
StateKind = Literal["idle", "judging", "blind", "held"]
VerdictKind = Literal["pass", "reject", "unknown"]
AlarmState = Literal["raised", "acknowledged", "cleared"]

#: What the evidence for an alarm points to.
Cause = Literal[
    "product",  # parts are worse, while their pictures are as they were
    "camera",  # camera, lens or lamp changed, moved or failed
    "line",  # a process, the engine or the disk of the line
    "unclear",  # the evidence fits several of these, or is too little
]

#: Why a part could not be judged.
UnknownReason = Literal[
    "frame",  # picture missing, truncated, of another size or colour
    "dark",  # picture without light: lamp or shutter
    "frozen",  # picture of a live camera that is the same, bit for bit, as the one before
    "view",  # no master for the view that the frame shows
    "registration",  # the part could not be aligned with its master
    "difference",  # a large piece of the part differs from its master: covered, missing, another product
    "engine",  # the engine failed on this part
    "score",  # the engine's output is not a number
    "overrun",  # no free slot when the part came, or frames came faster than they were taken
    "missing",  # triggered, but nobody looked, or not seen by a camera further down the belt
    "stray",  # seen by a camera on the belt where no part was expected
    "position",  # the belt's encoder failed, so that nobody knows where the part is
    "hold",  # the line is held
    "overwritten",  # the part's slot was leased to a later part while the slot was still needed
    "lost",  # the process that had the part ended
    "late",  # no answer came in time before the deadline
]
UNKNOWN_REASONS: tuple[str, ...] = get_args(UnknownReason)
#: Why a part got its verdict.
Reason = Literal[
    "clean",  # judged, no score reaches its threshold
    "defect",  # judged, a score reaches its threshold
    "product",  # judged, the part is not the product that the recipe names
    "gap",  # judged and good, but too near to a rejected part for the ejector to part them
    UnknownReason,
]

REASONS: tuple[str, ...] = get_args(Reason)


class Part(Struct, frozen=True, kw_only=True):
    """One triggered item: its identity, the slot that holds its data, and its deadline."""

    entry: int  # its number in the ledger; counts all parts of the run, over all epochs
    epoch: int  # rises with each start of capture
    sequence: int  # 1, 2, 3, ... within the epoch, without gaps
    camera: str
    view: str
    source_ref: str  # the source's name for the picture, such as its file's name; "": none
    skipped: int  # frames that the source skipped since the part before
    captured_ns: int
    captured_at_ns: int  # wall clock, for people only
    deadline_ns: int
    position: int = 0  # on the belt when it was triggered: ns of the monotonic clock, or ticks of the encoder
    count: int = -1  # the source's own number of the trigger; -1: the source does not count
    slot: int  # -1: no slot was free; UNSEEN_SLOT: nobody saw it
    generation: int  # of the slot's lease

    @property
    def part_id(self) -> str:
        """The identifier `<epoch>-<sequence>`, which no other part of the line has."""
        return f"{self.epoch}-{self.sequence}"

    @property
    def is_missing(self) -> bool:
        """Whether its source only counted the part: nobody saw it, and there is no picture."""
        return self.slot == UNSEEN_SLOT


class Health(Struct, frozen=True, kw_only=True):
    """What a part's picture shows of camera, lamp and fixture. A sample of the crop's pixels is measured."""

    level: float  # mean grey level, 0..255
    saturated: float  # share of pixels at 250 or more
    focus: float  # 0 for blurred pictures, 1 for noise: see edge/image/health.py
    repeats: int = 0  # pictures just before it that were the same, bit for bit; counted for a live camera only
    shift_px: tuple[float, float] | None = (
        None  # where the first judge that registers parts found it: right, down
    )
    rotation_deg: float | None = None


class Frame(Struct, frozen=True, kw_only=True, tag=True):
    """The message that a part's frame is in its slot: `(H, W)` grey or raw, or `(H, W, 3)` BGR, uint8."""

    part: Part
    shape: tuple[int, ...]
    done_ns: dict[str, int]  # stage -> time when the stage was done with the part


class Input(Struct, frozen=True, kw_only=True, tag=True):
    """How a judge's input `(1, C, H, W)` uint8 lies in the frame, and whether the slot holds the input."""

    to_frame: tuple[float, float, float, float, float, float]  # 2x3, input pixel -> frame pixel
    registration_px: float | None  # residual after registration; None for a judge without masters
    pose: tuple[float, float, float] | None = None  # px to the right, px down, degrees; None likewise
    in_slot: bool = True  # the input is in the slot; False: the engine warps the frame


class Refused(Struct, frozen=True, kw_only=True, tag=True):
    """Why one judge could not inspect a part. Other judges may still inspect the part."""

    reason: UnknownReason
    detail: str


class Tensor(Struct, frozen=True, kw_only=True, tag=True):
    """The message that the inputs of all judges for a part are ready, in the order of the recipe's judges."""

    part: Part
    inputs: tuple[Input | Refused, ...]
    health: Health | None = None
    done_ns: dict[str, int]


class Prediction(Struct, frozen=True, kw_only=True, tag=True):
    """The message that all judges' float32 outputs are in the part's slot, in an area for each judge."""

    part: Part
    inputs: tuple[Input | Refused, ...]
    health: Health | None = None
    engine_ns: int  # from the first submit to the last result
    done_ns: dict[str, int]


class Unknown(Struct, frozen=True, kw_only=True, tag=True):
    """The message that a stage could not judge a part, and why."""

    part: Part
    reason: UnknownReason
    detail: str
    health: Health | None = None  # None if the picture was not measured
    done_ns: dict[str, int]


Message = Union[Frame, Tensor, Prediction, Unknown]  # noqa: UP007  (msgspec reads it on Python 3.10 too)


class Notice(Struct, frozen=True, kw_only=True, tag=True):
    """The supervisor's message to publish: what to send to the subscribers beside verdicts and heartbeats."""

    topic: bytes
    body: bytes  # JSON; empty: nothing is sent
    alarm: str = (
        ""  # the alarm that it is about: while active, the notice is sent again when a subscriber comes
    )
    alarms: tuple[str, ...] | None = None  # active alarms, which heartbeats name from now on; None: as before


Sent = Union[Message, Notice]  # noqa: UP007


class Mask(Struct, frozen=True, kw_only=True):
    """Which places in a region's box are defective, in the uncompressed run-length code of COCO's masks.

    A grid of `size` equal places covers the box. `counts` are the lengths of runs of good and of defective
    places in turn, column by column, beginning with good ones; the first may be 0.
    """

    size: tuple[int, int]  # rows, columns
    counts: list[int]  # they add up to rows times columns


class Region(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A place on the part that looks defective. In a verdict, box and area are in pixels of the frame."""

    x: float
    y: float
    w: float
    h: float
    area_px: int
    score: float
    kind: str
    mask: Mask | None = None  # only if the recipe asks for masks, and if the verdict has room for it
    camera: str = ""  # of a line with several cameras, the one whose frame this is


class Judged(Struct, frozen=True, kw_only=True):
    """What one judge decided about a part."""

    name: str
    verdict: VerdictKind
    reason: Reason
    score: float | None  # None if the judge could not judge the part
    threshold: float  # smallest score that this judge rejects; with a fusion, p-values decide instead
    p_value: float | None  # share of good parts that score at least as high; None for an uncalibrated bundle
    bundle: str  # SHA-256 of its bundle's manifest


class Look(Struct, frozen=True, kw_only=True):
    """What one of several cameras saw of a part, or that it saw nothing of it."""

    camera: str
    entry: int | None  # number of the look in the camera's ledger; None if the camera saw nothing
    view: str
    source_ref: str  # the source's name for the picture
    captured_ns: int | None
    registration_px: float | None  # largest registration error of the camera's judges
    image: Health | None = None  # None if the picture was not measured
    reason: Reason  # of the camera's judges together, or why they could not judge; `missing` if it saw nothing
    judges: list[Judged]  # in the recipe's order; empty if the look did not reach the judges


class Verdict(Struct, frozen=True, kw_only=True):
    """The decision about one part. It is the JSON body of a `reject.<line>` or `accept.<line>` message."""

    v: int = 1
    line: str
    run: str = ""  # the run of the line, 16 hexadecimal digits; each start of the line is a new run
    number: int = 0  # 1, 2, 3, ... within the run, in the order of publication, without gaps
    part_id: str
    epoch: int
    sequence: int
    camera: str
    view: str
    source_ref: str  # the source's name for the picture, such as its file's name; "": none
    skipped: int  # frames that the source skipped since the part before
    verdict: VerdictKind
    reason: Reason
    detail: str  # for people: why the part is unknown, or near to which rejected part; empty otherwise
    score: float | None  # of the judge that decided; None if no judge decided
    threshold: float | None  # that judge's threshold; with a fusion, `p_value` decides instead
    p_value: float | None  # with a fusion, of all judges together; otherwise of the judge that decided
    judges: list[Judged]  # in the recipe's order; empty if the part did not reach them, or with `looks`
    regions: list[Region]  # in frame pixels, strongest first
    captured_at: str  # UTC, ISO 8601
    captured_ns: int
    published_ns: int
    deadline_ns: int
    latency_us: dict[str, int]  # capture, preprocess, infer, publish (they add up to total), engine, total
    registration_px: float | None  # largest registration error of any judge; None if no judge registered it
    recipe: str  # SHA-256 of the recipe file
    bundle: str  # SHA-256 of the bundle's manifest; of several bundles, SHA-256 of their digests
    image: Health | None = None  # None if the picture was not measured, for example because the part is `late`
    looks: list[Look] | UnsetType = UNSET  # of each camera, if the recipe has [[camera]] sections
    eject_at_ns: int | UnsetType | None = UNSET  # with [ejector]; None: not known, or the belt stands
    tick: int | UnsetType | None = UNSET  # with an encoder: its position when the part is at the ejector
    resent: bool = False  # sent before, at `published_ns`: publish was restarted since, or it was asked for


class Heartbeat(Struct, frozen=True, kw_only=True):
    """The state of the line and the part judged last. It is the JSON body of a `heartbeat.<line>` message."""

    v: int = 1
    line: str
    state: StateKind
    reason: str = ""  # for people: why the line is blind or held; empty otherwise
    part_id: str | None  # the part last judged
    judged_at: str | None
    judged_ns: int | None
    published_ns: int
    parts: int  # verdicts published since the line started
    epoch: int | None = None  # of the part published last; a subscriber without this part's verdict missed it
    sequence: int | None = None
    run: str = ""  # the run of the line, as in its verdicts
    number: int = 0  # of the verdict published last; a subscriber without this verdict missed it
    unwatched_s: float = 0.0  # seconds of the run in which a camera had no capture process, which had ended
    alarms: tuple[str, ...] = ()  # names of the alarms that are raised or acknowledged


class Alarm(Struct, frozen=True, kw_only=True):
    """The state of one alarm when it changed. It is the JSON body of an `alarm.<line>` message.

    An alarm stays raised until a person acknowledges it, even if its condition ends or the line restarts. It is
    cleared when it is acknowledged and its condition has ended.
    """

    v: int = 1
    line: str
    alarm: str  # its name, such as `reject-rate`
    state: AlarmState
    cause: Cause
    text: str  # for people: what was found, and where to look
    raised_at: str  # UTC, ISO 8601
    changed_at: str  # of this state
    by: str = ""  # who acknowledged it; empty before


#: What a line publishes for its subscribers.
Broadcast = Union[Verdict, Heartbeat, Alarm]  # noqa: UP007


class Running(Struct, frozen=True, kw_only=True):
    """Which engines the line runs. The infer stage writes this as `engine.json` when the engines are ready."""

    engine: str
    precision: str
    warped_by_engine: dict[str, tuple[bool, ...]] = {}  # by camera, judge by judge: whether its engine warps
    left_out: dict[str, str] = {}  # engines that `auto` did not take, and why not
    fell_back: tuple[str, ...] = ()  # those of them that should run here: the line is slower than it could be


def utc(ns: int) -> str:
    """Convert nanoseconds of the wall clock to UTC text in ISO 8601, as in `captured_at` and `judged_at`."""
    stamp = datetime.fromtimestamp(ns // 1_000_000_000, timezone.utc)
    return f"{stamp:%Y-%m-%dT%H:%M:%S}.{ns // 1000 % 1_000_000:06d}Z"
