"""Starts the processes of a line in the right order, restarts those that have ended, and stops them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import get_args

from ..errors import LineError
from ..messages import Running
from ..recipe import Recipe, Runtime
from .child import TRY_AGAIN, Child
from .epoch import next_epoch
from .forkserver import ForkServer
from .plan import SPARE, process_of, processes
from .run_memory import RunMemory
from .spare import Spare

log = logging.getLogger(__name__)

#: A process that was told to stop is killed after this time.
STOP_S = 5.0
#: The line does not start if one of its processes is killed, or loses its GPU, more often than this meanwhile.
MOST_KILLS = 3


class Children(Mapping[str, Child]):
    """The processes of the run in `folder`, by their names. The end of `with` kills all that are left.

    `state` is the folder that keeps the epoch. Calls `meanwhile` again and again while it waits, `failed` with
    the name of a process that has ended and is to be restarted, and `restarted` when that has succeeded.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        state: Path,
        memory: RunMemory,
        *,
        meanwhile: Callable[[], None],
        failed: Callable[[str], None],
        restarted: Callable[[str], None],
    ) -> None:
        self._recipe, self._state, self._memory = recipe, state, memory
        self._meanwhile, self._failed, self._restarted = meanwhile, failed, restarted
        self._forks = ForkServer(folder)
        self._children = {name: Child(folder, name, memory.stages, self._forks) for name in processes(recipe)}
        spare = Child(folder, SPARE, memory.stages, self._forks)
        self._spare = Spare(spare, self._children["infer"], recipe.engine)
        self._captures = {process_of("capture", camera, recipe): camera for camera in memory.ledgers}
        self._ended: set[str] = set()

    def __enter__(self) -> Children:
        with ExitStack() as cleanup:
            cleanup.enter_context(self._forks)
            for child in self._all:
                cleanup.callback(child.kill)
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._cleanup.close()

    def __getitem__(self, name: str) -> Child:
        return self._children[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._children)

    def __len__(self) -> int:
        return len(self._children)

    @property
    def ends(self) -> int:
        """A file descriptor that can be read when a process has ended (`ForkServer.ends`)."""
        return self._forks.ends

    @property
    def captures_ended(self) -> bool:
        """Whether every capture has finished, because its source has no more parts or the line stops."""
        return self._ended >= self._captures.keys()

    def set_running(self, running: Running) -> None:
        """Note which engines infer runs on, which decides whether it has a spare."""
        self._spare.set_running(running)

    def start(self) -> None:
        """Start all but capture, and wait until they are ready. Raise LineError if one of them cannot start."""
        self._start_together([name for name in self._children if name not in self._captures])

    def start_captures(self) -> None:
        """Start capture, like `start`. Call it last, so that all who receive parts listen before."""
        for name in self._captures:
            self._next_epoch(name)
        self._start_together(list(self._captures))

    def _start_together(self, names: Sequence[str]) -> None:
        self._await_forks()
        for name in names:
            try:
                self._children[name].start()
            except (OSError, LineError) as error:
                log.error("%s: cannot be started: %s", name, error)
        waiting = list(names)
        while waiting:
            waiting = [name for name in waiting if not self._has_started(name)]
            self._forks.tick()
            self._meanwhile()

    def _has_started(self, name: str) -> bool:
        """Return whether a process is ready. Restart it if it was killed. Raise LineError if it failed."""
        child = self._children[name]
        code = child.exit_code
        # A short source may end before the line counts as started.
        if child.ready or (code == 0 and name in self._captures):
            return True
        failed = code is not None and code >= 0 and code != TRY_AGAIN
        if failed or (code is not None and child.restarts == MOST_KILLS):
            raise LineError(f"{name}: {child.error}{self._remedy(child)}")
        # A process that was killed, for example for lack of memory, gets another try. So does infer if the GPU
        # failed.
        self._tick_child(child, time.monotonic_ns())
        return False

    def _await_forks(self) -> None:
        """Wait until processes can be forked. Raise LineError if the fork server fails or is often killed."""
        while not self._forks.is_loaded:
            code = self._forks.exit_code
            if code is not None and (code >= 0 or self._forks.restarts == MOST_KILLS):
                raise LineError(f"the fork server ended with status {code}: see the log")
            self._forks.tick()
            self._meanwhile()

    def _remedy(self, child: Child) -> str:
        """Return what to do about a process that does not start; empty if its own error says it."""
        kind = self._recipe.engine.kind
        if child.name != "infer" or kind not in get_args(Runtime) or "engine.kind" in child.error:
            return ""
        return f": engine.kind {kind!r} demands the GPU: see `dmesg`, or set engine.kind to 'auto'"

    def tick(self, now_ns: int) -> None:
        """Restart the processes that have ended, but not a capture that has finished."""
        self._forks.tick()
        for name, child in self._children.items():
            if name in self._captures and (name in self._ended or child.exit_code == 0):
                self._ended.add(name)
            else:
                self._tick_child(child, now_ns)
        self._spare.tick(now_ns, self._forks.is_loaded)

    def _tick_child(self, child: Child, now_ns: int) -> None:
        if child.tick(now_ns) and self._forks.is_loaded:
            self._restart(child, now_ns)

    def _restart(self, child: Child, now_ns: int) -> None:
        """Restart a process. If the system cannot start it now, try again later."""
        self._failed(child.name)
        try:
            if child.name in self._captures:
                self._next_epoch(child.name)
            if child.name != "infer" or not self._spare.take_over():
                child.restart()
        except (OSError, LineError) as error:
            log.error("%s: cannot be started: %s", child.name, error)
            child.postpone(now_ns)
        else:
            self._restarted(child.name)

    def _next_epoch(self, capture: str) -> None:
        """Count up the epoch before a capture starts. Keep its epoch if no part has been captured in it."""
        ledger = self._memory.ledgers[self._captures[capture]]
        if ledger.epoch and not ledger.last_sequence(ledger.epoch):
            return
        ledger.epoch = next_epoch(self._state, self._recipe.line)

    def stop_captures(self) -> None:
        """End the captures, so that no part comes any more."""
        for name in self._captures:
            self._children[name].terminate()
        for name in self._captures:
            self._children[name].wait(STOP_S)
            self._ended.add(name)

    def stop(self) -> None:
        """End all processes, those first that receive from others."""
        for child in self._all:
            child.terminate()
        for child in self._all:
            child.wait(STOP_S)

    @property
    def _all(self) -> tuple[Child, ...]:
        """All processes, the spare too, against the order in which a part passes them."""
        return (*reversed(self._children.values()), self._spare.child)
