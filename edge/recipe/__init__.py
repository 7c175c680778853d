"""Defines the sections and keys of a line's recipe, with their types, ranges and defaults.

A line engineer writes the recipe by hand, as one TOML file, which recipe_file.py reads. An error message
about a key says what to write there. This advice is the `description` of the key's type or, if there is none,
is made from the type and its range (documents/wanted.py).
"""

from __future__ import annotations

from typing import cast

import msgspec
from msgspec import field

from .belt import Belt, CounterEncoder, Ejector, Encoder, ModbusEncoder, SerialEncoder, SimulatedEncoder
from .judging import (
    EngineChoice,
    EngineKind,
    Fusion,
    JudgeChoice,
    Motion,
    Preprocess,
    Register,
    Rule,
    Runtime,
    Timing,
)
from .keys import Bayer, Crop, Name, PositiveInt, Section, Tiles
from .sources import Camera, Folder, SimulatedBelt, Source, Synthetic, Video
from .telling import (
    LEAST_HEARTBEAT_MS,
    MOST_CONFIRMING,
    AlarmLimits,
    BlackBox,
    Challenge,
    JournalChoice,
    MetricsPort,
    Publish,
    Recorder,
)

__all__ = [
    "LEAST_HEARTBEAT_MS",
    "MOST_CAMERAS",
    "MOST_CONFIRMING",
    "MOST_JUDGES",
    "AlarmLimits",
    "Bayer",
    "Belt",
    "BlackBox",
    "Camera",
    "Challenge",
    "CounterEncoder",
    "Crop",
    "Ejector",
    "Encoder",
    "EngineChoice",
    "EngineKind",
    "Folder",
    "Fusion",
    "JournalChoice",
    "JudgeChoice",
    "MetricsPort",
    "ModbusEncoder",
    "Motion",
    "Name",
    "PositiveInt",
    "Preprocess",
    "Publish",
    "Recipe",
    "Recorder",
    "Register",
    "Rule",
    "Runtime",
    "SerialEncoder",
    "SimulatedBelt",
    "SimulatedEncoder",
    "Source",
    "Synthetic",
    "Tiles",
    "Timing",
    "Video",
]

#: A verdict names each judge and has to fit into the ledger's record.
MOST_JUDGES = 16
MOST_CAMERAS = 8


class Recipe(Section, frozen=True, kw_only=True):
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
