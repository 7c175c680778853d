"""Defines the files in a run's folder through which the supervisor and the stages inform each other."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ..recipe import Recipe

PLAN = "plan.json"
#: File to which infer writes which engines it runs.
RUNNING = "engine.json"
#: File in which infer remembers which GPU engines it is opening, and which ones ended it.
TRIALS = "trials.json"
#: Name of the ipc socket on which the supervisor itself hears the verdicts.
VERDICTS = "verdicts"


#: Name of the process that keeps engines ready, and takes the place of infer when that ends.
SPARE = "infer.spare"


def processes(recipe: Recipe) -> tuple[str, ...]:
    """Return the names of a line's processes, in the order in which a part passes them.

    Each camera has a capture and a preprocess of its own. With [[camera]] sections, their names end in the name
    of the camera, as in `capture.top`.
    """
    ends = [f".{camera.name}" for camera in recipe.camera] or [""]
    seeing = (f"{stage}{end}" for stage in ("capture", "preprocess") for end in ends)
    asked = {
        "replay": recipe.publish.replay,
        "journal": recipe.journal,
        "recorder": recipe.recorder,
        "encoder": recipe.belt.encoder,
    }
    following = [name for name, section in asked.items() if section]
    return (*seeing, "infer", "publish", *following)


def process_of(stage: str, camera: str, recipe: Recipe) -> str:
    """Return the name of the process that runs `stage` for a camera."""
    return f"{stage}.{camera}" if recipe.camera else stage


def stage_of(process: str) -> str:
    """Return the stage that a process runs, such as `capture` for `capture.top`."""
    return process.partition(".")[0]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a stage must know about its run. The supervisor writes it to `plan.json` in the run's folder."""

    recipe: Recipe
    recipe_digest: str
    bundle_digest: str  # SHA-256 of the bundles of all judges
    pictures: dict[str, str] = {}  # path of each master and drawing -> SHA-256 of the file
    state: str = ""  # folder for what outlasts the line
    left: tuple[str, ...] = ()  # folders of killed runs whose verdicts subscribers may have missed

    @property
    def guard_ns(self) -> int:
        """A part that has no result this many nanoseconds before its deadline becomes `late`."""
        return round(self.recipe.timing.guard_ms * 1e6)


def read_plan(folder: Path) -> Plan:
    """Return the plan of the run in `folder`.

    Raises OSError if the file cannot be read, or MsgspecError if another version of the program wrote the file.
    """
    return msgspec.json.decode((folder / PLAN).read_bytes(), type=Plan)
