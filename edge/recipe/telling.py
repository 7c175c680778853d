"""Defines the sections of a recipe that say who hears of the verdicts, and what is kept of them."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from .keys import Name, Port, PositiveInt, Section

LEAST_HEARTBEAT_MS = 50
#: Number of subscribers that can confirm.
MOST_CONFIRMING = 64


class Publish(Section, frozen=True, kw_only=True):
    """Where verdicts are sent, who may connect there, and who has to confirm that it has heard them."""

    endpoints: tuple[str, ...] = ("tcp://127.0.0.1:5571",)  # tcp:// or ipc://, where the line publishes
    heartbeat_ms: Annotated[int, Meta(ge=LEAST_HEARTBEAT_MS, le=60000)] = 1000  # from one to the next
    replay: str = ""  # endpoint at which subscribers ask for verdicts that they missed; default: none
    confirm: Annotated[
        tuple[Name, ...],
        Meta(max_length=MOST_CONFIRMING, description="a list of at most 64 names of subscribers"),
    ] = ()  # the subscribers that must confirm each verdict to the replay endpoint
    confirm_ms: Annotated[int, Meta(ge=100, le=600_000)] = 5000  # a verdict is to be confirmed within this time
    keys: str = ""  # folder with the line's keys; with it, each tcp:// endpoint asks who connects for a key


class AlarmLimits(Section, frozen=True, kw_only=True):
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


class MetricsPort(Section, frozen=True, kw_only=True):
    """The address at which Prometheus fetches the metrics."""

    host: str = "127.0.0.1"
    port: Port = 9178  # 0: no metrics


class BlackBox(Section, frozen=True, kw_only=True):
    """How many of the last parts the recorder holds in memory, and after what it writes them to a file."""

    on: tuple[Literal["unknown", "reject", "fault"], ...] = ("unknown", "fault")  # empty: never
    parts: Annotated[int, Meta(ge=1, le=1000)] = 32  # in a file
    after: Annotated[int, Meta(ge=0, le=999)] = 8  # of these, so many that come after the event
    memory_mb: PositiveInt = 256  # for the frames that are held
    per_hour: PositiveInt = 6  # files an hour at most, so that a line that rejects everything fills no disk
    disk_mb: PositiveInt = 2000  # for all files; the oldest are deleted first


class Recorder(Section, frozen=True, kw_only=True):
    """Where pictures and black boxes are kept, of which parts and how long."""

    folder: Annotated[str, Meta(pattern=r"\S", description="a folder for pictures, on a disk with room")]
    passes: Annotated[float, Meta(ge=0, le=1)] = 0.01  # share of the passed parts of which a picture is kept
    passes_days: PositiveInt = 7  # pictures of passed parts
    days: PositiveInt = 30  # pictures of rejected and unknown parts, and black boxes
    pictures_mb: PositiveInt = 10_000  # for all; the oldest are deleted first, passed parts before others
    reserve_mb: Annotated[int, Meta(ge=0)] = 1000  # with less room on the disk, no picture is written
    box: BlackBox = field(default_factory=BlackBox)


class JournalChoice(Section, frozen=True, kw_only=True):
    """Where the journal of the line's verdicts is kept, and how long. A verdict takes about 2 kB."""

    folder: str = ""  # default: the folder `journal` in the state folder
    keep_days: Annotated[int, Meta(ge=0, le=36500)] = 0  # older verdicts are deleted; 0: none is
    keep_mb: Annotated[int, Meta(ge=0)] = 10_000  # of a larger file, the oldest verdicts are deleted; 0: none


class Challenge(Section, frozen=True, kw_only=True):
    """How often the line has to be tested with known parts, and what happens if a test is overdue or fails."""

    every_h: Annotated[float, Meta(gt=0, le=8760)]  # hours after which a test is due again
    overdue: Literal["alarm", "hold"] = "hold"  # hold: the line rejects every part until a test passes
