"""Makes the shared memory of a run: the rows of its processes, and a ledger and a ring for each camera."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..belt.track import Track
from ..judges.judge import Judge, areas_of, by_camera
from ..memory.ledger import Ledger
from ..memory.recorded import Recorded
from ..memory.ring import Ring
from ..memory.stages import Stages
from ..recipe import Recipe
from ..stages.looks import record_bytes
from .plan import SPARE, processes
from .run_folder import ledger_path, ring_path, stages_path, track_path


class RunMemory:
    """The shared memory of a new run, as files in `folder`. Raise LineError if there is not enough of it.

    `ledgers` and `rings` are those of each camera, by its name, that of the first camera first.
    """

    def __init__(self, folder: Path, recipe: Recipe, judges: Sequence[Judge]) -> None:
        self._folder = folder
        self.stages = Stages.create(stages_path(folder), (*processes(recipe), SPARE))
        if recipe.belt.by == "encoder":
            Track.create(track_path(folder))
        self.ledgers: dict[str, Ledger] = {}
        self.rings: dict[str, Ring] = {}
        seeing = by_camera(judges)
        for camera, its_judges in seeing.items():
            # The first camera's rows are the parts, whose verdicts tell of all cameras.
            told = [its_judges] if self.ledgers else list(seeing.values())
            most = record_bytes([len(each) for each in told])
            self.ledgers[camera] = Ledger.create(ledger_path(folder, camera), most)
            areas = areas_of(its_judges)
            self.rings[camera] = Ring.create(ring_path(folder, camera), slots=recipe.timing.slots, **areas)
        #: What the recorder has kept; None without one.
        self.recorded = Recorded.create(folder) if recipe.recorder else None

    @property
    def is_there(self) -> bool:
        """Whether nobody has removed the files, which the processes of the line open when they start."""
        return all(ledger_path(self._folder, camera).exists() for camera in self.ledgers)

    @property
    def captured(self) -> int:
        """Number of parts that the cameras captured since the line started."""
        return sum(ledger.captured for ledger in self.ledgers.values())

    @property
    def published(self) -> int:
        """Number of parts that have their verdict."""
        return sum(ledger.published for ledger in self.ledgers.values())

    @property
    def waiting(self) -> int:
        """Number of captured parts that have no verdict yet."""
        return sum(ledger.waiting for ledger in self.ledgers.values())

    @property
    def free_slots(self) -> int:
        """Number of slots that no part occupies, of the camera with the fewest."""
        return min(ring.free(self.ledgers[camera].published) for camera, ring in self.rings.items())
