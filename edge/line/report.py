"""Sets the metrics of a line that no verdict tells, such as which processes run and which engine judges."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import msgspec

from ..journal.condition import condition_in
from ..messages import Running
from ..monitoring.metrics import Metrics
from ..recipe import Recipe
from .child import Child
from .plan import RUNNING
from .run_memory import RunMemory

log = logging.getLogger(__name__)


class Report:
    """Reports on the run in `folder`. `recipe_digest` and `bundle_digest` are SHA-256 as in verdicts."""

    def __init__(
        self,
        metrics: Metrics,
        recipe: Recipe,
        recipe_digest: str,
        bundle_digest: str,
        folder: Path,
        memory: RunMemory,
    ) -> None:
        self._metrics, self._recipe, self._folder, self._memory = metrics, recipe, folder, memory
        self._recipe_digest, self._bundle_digest = recipe_digest, bundle_digest
        self._infer: int | None = None
        #: Which engines infer runs on; None until it is ready.
        self.running: Running | None = None

    def set(self, children: Mapping[str, Child], *, dropped: int, challenge_due: bool) -> None:
        """Set the metrics. `dropped` counts the messages that the supervisor refused since the line started."""
        for name, child in children.items():
            self._metrics.stage_up(name, child.ready)
            self._metrics.dropped(name, child.dropped)
            self._metrics.away(name, child.away_ns)
        self._metrics.dropped("control", dropped)
        self._metrics.free_slots(self._memory.free_slots)
        self._metrics.held(bool(self._memory.stages.hold))
        self._metrics.challenge(challenge_due)
        if self._memory.recorded:
            self._metrics.recorder(self._memory.recorded.all())
        if self._recipe.journal:
            self._metrics.journal(condition_in(self._folder))

    def set_engine(self, infer: Child) -> None:
        """Set which engines infer uses, once for each process of infer, because they can change."""
        if not infer.ready or infer.pid == self._infer:
            return
        try:
            running = msgspec.json.decode((self._folder / RUNNING).read_bytes(), type=Running)
        except OSError as error:
            log.warning("cannot read which engine infer runs on: %s", error)
            return
        self._infer, self.running = infer.pid, running
        self._metrics.engine(running, self._recipe_digest, self._bundle_digest)
