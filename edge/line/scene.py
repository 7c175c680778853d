"""Says where a camera of a simulated belt stands, and when the belt was started, for all cameras of a run."""

from __future__ import annotations

import os
import time
from pathlib import Path

from ..belt.layout import layout_of
from ..belt.motion import Motion
from ..recipe import Camera, Recipe, SimulatedBelt, SimulatedEncoder
from ..sources import Scene

#: File in a run's folder with the time at which the simulated belt begins, in ns of the monotonic clock.
BELT_START = "belt.start"


def scene_of(recipe: Recipe, camera: Camera, folder: Path) -> Scene | None:
    """Return the scene of a camera whose source is a simulated belt; None for any other source."""
    if not isinstance(camera.source, SimulatedBelt):
        return None
    station, encoder = layout_of(recipe).station(camera.name), recipe.belt.encoder
    names = [one.name for one in recipe.cameras]
    return Scene(
        camera=camera.name,
        number=names.index(camera.name),
        at=station.at if station else 0,
        start_ns=_start_ns(folder) + round(camera.source.start_ms * 1e6),
        motion=Motion(encoder) if isinstance(encoder, SimulatedEncoder) else None,
    )


def _start_ns(folder: Path) -> int:
    """Return when the run's belt was started: now, for the first process of the run that asks."""
    own = folder / f"{BELT_START}.{os.getpid()}"
    own.write_text(str(time.monotonic_ns()))
    try:
        # Whoever links first has the whole text in the file at once.
        os.link(own, folder / BELT_START)
    except FileExistsError:
        pass
    finally:
        own.unlink()
    return int((folder / BELT_START).read_text())
