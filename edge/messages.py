"""What flows through the line: Frame -> Tensor -> Prediction -> Verdict, and Unknown beside them.

Between stages only these small descriptors travel; pixels, model inputs and maps stay in the part's
slot of the ring. Times are integer nanoseconds of the monotonic clock unless a name says otherwise.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Literal, Union, get_args

from msgspec import Struct

VIEW_BYTES, SOURCE_REF_BYTES = 128, 512  # of UTF-8 that a part has room for

#: blind: parts come and none has been judged of late, or none would be seen since the camera failed.
StateKind = Literal["idle", "judging", "blind"]
VerdictKind = Literal["pass", "reject", "unknown"]

#: Why a part could not be judged.
UnknownReason = Literal[
    "frame",  # picture missing, truncated, of another size or colour
    "dark",  # picture without light: lamp or shutter
    "view",  # no master for the view that the frame shows
    "registration",  # the part could not be laid onto its master
    "difference",  # a large piece of the part is unlike its master: covered, missing, another product
    "engine",  # the engine failed on this part
    "score",  # the engine's answer is not a number
    "overrun",  # no free slot when the part came, or more frames came than were taken
    "overwritten",  # the part's slot was leased anew while it was still wanted
    "late",  # no verdict had come shortly before the deadline
]
UNKNOWN_REASONS: tuple[str, ...] = get_args(UnknownReason)
#: Why a verdict is what it is.
Reason = Literal[
    "clean",  # judged, nothing over its threshold
    "defect",  # judged, a score over its threshold
    "product",  # it is not the product that the recipe names
    UnknownReason,
]


class Part(Struct, frozen=True, kw_only=True):
    """One triggered item: who it is, where its data lie and until when it must be judged."""

    entry: int  # its row in the ledger; counts all parts of the run, over all epochs
    epoch: int  # rises with each start of capture
    sequence: int  # 1, 2, 3, ... within the epoch, without gaps
    camera: str
    view: str
    source_ref: str  # what the source calls the picture, such as the name of its file; "": nothing
    skipped: int  # frames that the source passed over since the part before
    captured_ns: int
    captured_at_ns: int  # wall clock, for people only
    deadline_ns: int
    slot: int  # -1: there was no free slot
    generation: int  # of the slot's lease

    @property
    def part_id(self) -> str:
        return f"{self.epoch}-{self.sequence}"


class Frame(Struct, frozen=True, kw_only=True, tag=True):
    """A picture in a slot: `(H, W)` grey or `(H, W, 3)` BGR, uint8."""

    part: Part
    shape: tuple[int, ...]
    done_ns: dict[str, int]  # stage -> when it was done with the part


class Input(Struct, frozen=True, kw_only=True, tag=True):
    """A judge's input `(1, C, H, W)` uint8: how it lies in the frame, and who warps the frame into it."""

    to_frame: tuple[float, float, float, float, float, float]  # 2x3, input pixel -> frame pixel
    registration_px: float | None  # residual after registration; None for a judge without masters
    in_slot: bool = True  # the input is in the slot; False: the engine warps the frame


class Refused(Struct, frozen=True, kw_only=True, tag=True):
    """Why a judge cannot look at a part on which others may have something to say."""

    reason: UnknownReason
    detail: str


class Tensor(Struct, frozen=True, kw_only=True, tag=True):
    """The inputs of all judges in a slot, in the recipe's order."""

    part: Part
    inputs: tuple[Input | Refused, ...]
    done_ns: dict[str, int]


class Prediction(Struct, frozen=True, kw_only=True, tag=True):
    """What the networks said, no opinion: each one's outputs lie in the slot, float32, one after another."""

    part: Part
    inputs: tuple[Input | Refused, ...]
    engine_ns: int  # from the first submit to the last result
    done_ns: dict[str, int]


class Unknown(Struct, frozen=True, kw_only=True, tag=True):
    """A part that a stage could not judge, and why."""

    part: Part
    reason: UnknownReason
    detail: str
    done_ns: dict[str, int]


Message = Union[Frame, Tensor, Prediction, Unknown]  # noqa: UP007  (msgspec reads it on Python 3.10 too)


class Region(Struct, frozen=True, kw_only=True):
    """A place on the part that looks wrong; box and area in pixels of the picture it was asked for."""

    x: float
    y: float
    w: float
    h: float
    area_px: int
    score: float
    kind: str


class Judged(Struct, frozen=True, kw_only=True):
    """What one judge made of a part."""

    name: str
    verdict: VerdictKind
    reason: Reason
    score: float | None  # None where it could not judge
    threshold: float  # the least score that it rejects by itself; with a fusion p-values decide instead
    p_value: float | None  # share of good parts that score as high; None where its bundle is not calibrated
    bundle: str  # SHA-256 of its bundle's manifest


class Verdict(Struct, frozen=True, kw_only=True):
    """What was decided about one part; the JSON body of a `reject.<line>` or `accept.<line>` message."""

    v: int = 1
    line: str
    part_id: str
    epoch: int
    sequence: int
    camera: str
    view: str
    source_ref: str  # what the source calls the picture, such as the name of its file; "": nothing
    skipped: int  # frames that the source passed over since the part before
    verdict: VerdictKind
    reason: Reason
    detail: str  # for people: what was wrong with an unknown part; empty otherwise
    score: float | None  # of the judge that decided; None where nothing was judged
    threshold: float | None  # that judge's own; with a fusion `p_value` decides instead
    p_value: float | None  # of all judges together, where the recipe asks for it, else of the one that decided
    judges: list[Judged]  # all that looked at the part, in the recipe's order
    regions: list[Region]  # in frame pixels, strongest first
    captured_at: str  # UTC, ISO 8601
    captured_ns: int
    published_ns: int
    deadline_ns: int
    latency_us: dict[str, int]  # capture, preprocess, infer, publish (they add up to total), engine, total
    registration_px: float | None  # the worst of any judge's; None where the part was laid onto no master
    recipe: str  # SHA-256 of the recipe file
    bundle: str  # SHA-256 of the bundle's manifest; of several bundles, SHA-256 of their digests
    resent: bool = False  # given out before, at `published_ns`, by a publisher that has ended since


class Heartbeat(Struct, frozen=True, kw_only=True):
    """How the line is, and when it last judged a part; the JSON body of `heartbeat.<line>`."""

    v: int = 1
    line: str
    state: StateKind
    reason: str = ""  # why it is blind, for people; empty otherwise
    part_id: str | None  # the part last judged
    judged_at: str | None
    judged_ns: int | None
    published_ns: int
    parts: int  # verdicts published since the line started
    epoch: int | None = None  # of the part published last: a subscriber that has not heard of it missed it
    sequence: int | None = None


class Running(Struct, frozen=True, kw_only=True):
    """What infer tells of itself once it is armed, as `engine.json`."""

    engine: str
    precision: str
    warped_by_engine: tuple[bool, ...] = ()  # judge by judge: whether its engine warps the frames
    left_out: dict[str, str] = {}  # engines that `auto` did not take, and why not


def utc(ns: int) -> str:
    """Return nanoseconds of the wall clock as ISO 8601 in UTC, as `captured_at` and `judged_at` have it."""
    stamp = datetime.fromtimestamp(ns // 1_000_000_000, timezone.utc)
    return f"{stamp:%Y-%m-%dT%H:%M:%S}.{ns // 1000 % 1_000_000:06d}Z"
