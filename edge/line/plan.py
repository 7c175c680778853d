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


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a stage must know about its run. The supervisor writes it to `plan.json` in the run's folder."""

    recipe: Recipe
    recipe_digest: str
    bundle_digest: str  # SHA-256 of the bundles of all judges
    pictures: dict[str, str] = {}  # path of each master and drawing -> SHA-256 of the file
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
