"""What supervisor and stages tell each other by files in the line's folder."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ..recipe import Recipe

PLAN = "plan.json"
RUNNING = "engine.json"  # what infer tells of itself
VERDICTS = "verdicts"  # the ipc name of the socket on which the supervisor itself hears the verdicts


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What the supervisor hands to each stage, as `plan.json`."""

    recipe: Recipe
    recipe_digest: str
    bundle_digest: str  # of all that judge
    pictures: dict[str, str] = {}  # SHA-256 of each master and drawing that the recipe names, by its path
    left: tuple[str, ...] = ()  # folders of killed runs, whose parts are to have their verdict

    @property
    def guard_ns(self) -> int:
        return round(self.recipe.timing.guard_ms * 1e6)


def read_plan(folder: Path) -> Plan:
    """The plan of the run in this folder; OSError, or MsgspecError where it is of another version."""
    return msgspec.json.decode((folder / PLAN).read_bytes(), type=Plan)
