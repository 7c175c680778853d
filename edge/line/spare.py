"""Keeps a spare infer process ready, with its engines loaded and warm, to take the place of one that ends."""

from __future__ import annotations

import logging
from typing import get_args

from ..errors import LineError
from ..messages import Running
from ..recipe import EngineChoice, Runtime
from .child import Child

log = logging.getLogger(__name__)

#: The line goes on without a spare if it ends so often without having been ready in between.
MOST_FAILURES = 3


class Spare:
    """A spare for `infer`. Both are processes that the supervisor ticks; this one starts and uses `child`."""

    def __init__(self, child: Child, infer: Child, choice: EngineChoice) -> None:
        self.child = child
        self._infer, self._choice = infer, choice
        self._failures = 0
        self._running: Running | None = None

    def set_running(self, running: Running) -> None:
        """Note which engines infer runs on, which decides whether there is a spare."""
        self._running = running

    @property
    def is_wanted(self) -> bool:
        """Whether the line keeps a spare: as the recipe says, and otherwise if its engines run on the CPU."""
        if self._running is None or self._failures == MOST_FAILURES:
            return False
        if self._choice.spare is not None:
            return self._choice.spare
        # A GPU would hold the model twice, and loading it would delay the parts of the other process.
        return not any(name in get_args(Runtime) for name in self._running.engine.split(", "))

    def tick(self, now_ns: int, can_fork: bool) -> None:
        """Start the spare once infer is ready, so that both do not load at once, and again if it ends."""
        child = self.child
        if child.ready:
            self._failures = 0
        if not self.is_wanted or not (self._infer.ready and can_fork):
            return
        if child.is_started and not child.tick(now_ns):
            return
        self._failures += child.is_started
        if self._failures == MOST_FAILURES:
            log.error("infer: the line goes on without a spare process: %s", child.error)
            return
        try:
            child.start()
        except (OSError, LineError) as error:
            log.error("%s: cannot be started: %s", child.name, error)

    def take_over(self) -> bool:
        """Make the spare the infer process of the line. Return False if there is none that runs.

        A spare that is still loading is nearer to its goal than a new process.
        """
        if self.child.pid is None:
            return False
        self._infer.take_over(self.child)
        return True
