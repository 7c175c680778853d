"""Defines the files in a run's folder through which the supervisor and the stages inform each other."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ..recipe import Recipe

PLAN = "plan.json"
#: File in which infer says which engines it runs.
RUNNING = "engine.json"
#: Name of the ipc socket on which the supervisor itself hears the verdicts.
VERDICTS = "verdicts"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What the supervisor tells each stage in `plan.json`."""

    recipe: Recipe
    recipe_digest: str
    bundle_digest: str  # of the bundles of all judges
    pictures: dict[str, str] = {}  # SHA-256 of each master and drawing that the recipe names, by its path
    left: tuple[str, ...] = ()  # folders of killed runs, whose parts still need their verdicts

    @property
    def guard_ns(self) -> int:
        """Time before the deadline at which a part without an answer becomes `late`."""
        return round(self.recipe.timing.guard_ms * 1e6)


def read_plan(folder: Path) -> Plan:
    """Return the plan of the run in this folder; raise OSError or, for another version, MsgspecError."""
    return msgspec.json.decode((folder / PLAN).read_bytes(), type=Plan)
