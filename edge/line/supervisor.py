"""Supervises a line: makes its shared memory, starts, watches and restarts its stages, and stops them.

The supervisor creates the ledger, which is the table of all parts. It restarts the publish stage too, so each
captured part gets its verdict even if a stage fails. To stop the line, it ends the capture stage first. It ends
the other stages when every captured part has its verdict.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, get_args

import msgspec

from ..errors import LineError
from ..judges.judge import Judge, areas_of, digest_of, pictures_of, rules_of
from ..judges.rules import write_rules
from ..memory.ledger import STAGES, Ledger
from ..memory.ring import Ring
from ..messages import Broadcast, Running
from ..monitoring.metrics import Metrics
from ..recipe import Recipe, Runtime
from ..subscriber import Subscriber
from .child import TRY_AGAIN, Child
from .control import SOCKET, Command, Control, NoKeys
from .descriptors import raise_limit
from .epoch import next_epoch
from .listener import Listener
from .plan import PLAN, RUNNING, VERDICTS, Plan
from .run_folder import RunFolder
from .status import Status, stages_of, state_of

log = logging.getLogger(__name__)

TICK_MS = 20
#: A stage that was told to stop is killed after this time.
STOP_S = 5.0
#: The line does not start if one of its stages is killed, or loses its GPU, more often than this meanwhile.
MOST_KILLS = 3
#: The last stage starts first, so that the receiver listens before the sender starts.
START_ORDER = tuple(reversed(STAGES))


class Line:
    """A line that inspects parts. `with` starts its processes, and stops them after the last verdict.

    Calls `hear` with each verdict, heartbeat and alarm that the line publishes. `state` is the folder that
    keeps the epoch. `with` raises LineError if the line cannot start: for example if a line of this name runs
    already, if memory or a port is not available, or if a stage ends before it is ready.
    """

    def __init__(
        self,
        recipe: Recipe,
        recipe_digest: str,
        judges: tuple[Judge, ...],
        *,
        state: Path,
        metrics: Metrics,
        hear: Callable[[Broadcast], None],
    ) -> None:
        self._recipe, self._recipe_digest, self._judges = recipe, recipe_digest, judges
        self._state, self._metrics, self._hear = state, metrics, hear
        self._cleanup = ExitStack()
        self._ended = False
        self._reported_infer: int | None = None
        self._running: Running | None = None
        #: What people can have the line do by `edge ctl`.
        self.commands: dict[str, Command] = {"status": self._status}

    def __enter__(self) -> Line:
        raise_limit()
        with ExitStack() as cleanup:
            self._run = cleanup.enter_context(RunFolder(self._recipe.line))
            self._folder = self._run.path
            self._ledger = Ledger.create(self._folder / "ledger")
            slots, areas = self._recipe.timing.slots, areas_of(self._recipe, self._judges)
            self._ring = Ring.create(self._folder / "ring", slots=slots, **areas)
            digest = digest_of(self._judges)
            plan = Plan(
                recipe=self._recipe,
                recipe_digest=self._recipe_digest,
                bundle_digest=digest,
                pictures=pictures_of(self._judges),
                left=tuple(map(str, self._run.left)),
            )
            (self._folder / PLAN).write_bytes(msgspec.json.encode(plan))
            write_rules(self._folder, rules_of(self._judges, self._recipe.fusion))
            # The subscriber keeps far more than comes between two ticks, so that the metrics miss nothing.
            subscriber = Subscriber(
                f"ipc://{self._folder}/{VERDICTS}.ipc", most_waiting=100_000, reconnect_ms=10
            )
            self._listener = Listener(cleanup.enter_context(subscriber), self._metrics, self._hear)
            self._children = {name: Child(self._folder, name, self._ledger) for name in STAGES}
            for child in self._children.values():
                cleanup.callback(child.kill)
            path = self._folder.parent / SOCKET
            self._control = cleanup.enter_context(Control(path, self.commands))
            self._start()
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        with self._cleanup:
            self._stop()

    @property
    def ended(self) -> bool:
        """Whether capture has finished and every captured part has its verdict."""
        return self._ended and not self._ledger.waiting

    @property
    def captured(self) -> int:
        """Number of parts that were captured since the line started."""
        return self._ledger.captured

    @property
    def folder(self) -> Path:
        """Folder in shared memory with the ledger, ring, plan and sockets of this run."""
        return self._folder

    def pid(self, stage: str) -> int | None:
        """Return the process id of a stage, or None if its process does not run."""
        return self._children[stage].pid

    def tick(self) -> None:
        """Restart stages that have ended, and take the messages that were published. This lasts about TICK_MS.

        The caller repeats this while the line runs. Raises LineError if the line's folder was removed, because
        the line cannot go on without its folder.
        """
        if not self._run.is_there:
            raise LineError(f"{self._folder}: the folder of the running line was removed: start the line again")
        self._tick()

    def _tick(self) -> None:
        now_ns = time.monotonic_ns()
        for name, child in self._children.items():
            if name == "capture" and (self._ended or child.exit_code == 0):
                self._ended = True
            elif child.tick(now_ns):
                self._restart(name, child, now_ns)
            self._metrics.stage_up(name, child.ready)
            self._metrics.dropped(name, child.dropped)
        self._report_engine()
        self._metrics.free_slots(self._ring.free(self._ledger.published))
        self._control.answer()
        self._metrics.dropped("control", self._control.dropped)
        self._listener.listen(TICK_MS)

    def _restart(self, name: str, child: Child, now_ns: int) -> None:
        """Restart a stage. If the system cannot start the stage now, try again later."""
        try:
            if name == "capture":
                self._next_epoch()
            child.restart()
        except (OSError, LineError) as error:
            log.error("%s: cannot be started: %s", name, error)
            child.postpone(now_ns)
        else:
            self._metrics.restarted(name)

    def _start(self) -> None:
        """Start all stages except capture together. When they are ready, start capture."""
        for names in (START_ORDER[:-1], START_ORDER[-1:]):
            if "capture" in names:
                self._await_heartbeat()
                self._next_epoch()
            for name in names:
                self._children[name].start()
            while not all(self._children[name].ready for name in names):
                for name in names:
                    child = self._children[name]
                    if child.exit_code == 0 and name == "capture":
                        # A short source may end before the line counts as started.
                        return
                    code = child.exit_code
                    failed = code is not None and code >= 0 and code != TRY_AGAIN
                    if failed or (code is not None and child.restarts == MOST_KILLS):
                        raise LineError(f"{name}: {child.error}{self._remedy(child)}")
                    # A stage that was killed, for example for lack of memory, gets another try. So does infer
                    # if the GPU failed.
                    if child.tick(now_ns := time.monotonic_ns()):
                        self._restart(name, child, now_ns)
                self._control.answer()
                self._listener.listen(TICK_MS)
        self._report_engine()

    def _remedy(self, child: Child) -> str:
        """Return what to do about a stage that does not start; empty if its own error says it."""
        kind = self._recipe.engine.kind
        if child.stage != "infer" or kind not in get_args(Runtime) or "engine.kind" in child.error:
            return ""
        return f": engine.kind {kind!r} demands the GPU: see `dmesg`, or set engine.kind to 'auto'"

    def _report_engine(self) -> None:
        """Tell the metrics which engine infer uses, once for each process of infer, because it can change."""
        infer = self._children["infer"]
        if infer.ready and infer.pid != self._reported_infer:
            try:
                running = msgspec.json.decode((self._folder / RUNNING).read_bytes(), type=Running)
            except OSError as error:
                log.warning("cannot read which engine infer runs on: %s", error)
                return
            self._reported_infer = infer.pid
            self._running = running
            self._metrics.engine(running, self._recipe_digest, digest_of(self._judges))

    def _status(self, keys: dict[str, Any]) -> dict[str, Any]:
        msgspec.convert(keys, NoKeys)
        state, reason = state_of(self._listener.heartbeat)
        status = Status(
            line=self._recipe.line,
            pid=os.getpid(),
            run=self._ledger.run.hex(),
            state=state,
            reason=reason,
            captured=self._ledger.captured,
            published=self._ledger.published,
            recipe=self._recipe_digest,
            bundle=digest_of(self._judges),
            engine=self._running,
            dropped=self._control.dropped,
            stages=stages_of(self._children),
        )
        found: dict[str, Any] = msgspec.to_builtins(status)
        return found

    def _await_heartbeat(self) -> None:
        """Wait for the first heartbeat of publish, so that the metrics count the first verdict too."""
        end_ns = time.monotonic_ns() + round(STOP_S * 1e9) + self._recipe.publish.heartbeat_ms * 1_000_000
        while not self._listener.has_heard:
            self._listener.listen(TICK_MS)
            if time.monotonic_ns() > end_ns:
                raise LineError("publish: no heartbeat came: is the ipc socket in /dev/shm blocked?")

    def _next_epoch(self) -> None:
        """Count up the epoch before capture starts. Keep the epoch if no part has been captured in it."""
        if self._ledger.epoch and not self._ledger.last_sequence(self._ledger.epoch):
            return
        self._ledger.epoch = next_epoch(self._state, self._recipe.line)

    def _stop(self) -> None:
        """End capture, wait until the captured parts have their verdicts, and end the other stages."""
        self._children["capture"].terminate()
        self._children["capture"].wait(STOP_S)
        self._ended = True
        end_ns = time.monotonic_ns() + round(self._recipe.timing.deadline_ms * 1e6 + STOP_S * 1e9)
        while not self.ended and time.monotonic_ns() < end_ns:
            self._tick()
        if not self.ended:
            log.error("%d parts are left without a verdict", self._ledger.waiting)
        self._listener.listen(TICK_MS)
        for name in START_ORDER[:-1]:
            self._children[name].terminate()
        for name in START_ORDER[:-1]:
            self._children[name].wait(STOP_S)
