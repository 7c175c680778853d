"""Supervises a line: makes its shared memory, starts, watches and restarts its processes, and stops them.

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
from typing import Any

import msgspec

from ..errors import LineError
from ..judges.judge import Judge, by_camera, digest_of, pictures_of, rules_of
from ..judges.rules import write_rules
from ..messages import Broadcast, Verdict
from ..monitoring.metrics import Metrics
from ..recipe import Recipe
from ..stages.sockets import Sockets
from ..subscriber import Heard, Subscriber
from .alarms import LineAlarms
from .challenges import Challenges
from .children import STOP_S, Children
from .control import SOCKET, Command, Control, NoKeys
from .descriptors import raise_limit
from .faults import Faults
from .hold import Hold
from .last_verdicts import finish_journal
from .listener import Listener
from .noted import noting
from .plan import PLAN, VERDICTS, Plan
from .report import Report
from .run_folder import RunFolder
from .run_memory import RunMemory
from .status import Status, stages_of, state_of

log = logging.getLogger(__name__)

TICK_MS = 20
#: Capture starts when publish has been ready for this time. ZeroMQ connects again after 100 to 200 ms.
CONNECT_NS = 300_000_000


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

    def __enter__(self) -> Line:
        raise_limit()
        with ExitStack() as cleanup:
            self._open(cleanup)
            self._start()
            self._cleanup = cleanup.pop_all()
        return self

    def _open(self, cleanup: ExitStack) -> None:
        """Make the run's folder, its memory, files and sockets, and all that watches over its processes."""
        recipe, has_journal = self._recipe, bool(self._recipe.journal)
        run = cleanup.enter_context(RunFolder(recipe.line, journal=has_journal))
        self._folder = run.path
        self._memory = RunMemory(self._folder, recipe, self._judges)
        self._write_plan(run, digest := digest_of(self._judges))
        self._report = Report(self._metrics, recipe, self._recipe_digest, digest, self._folder, self._memory)
        self._hold = Hold(self._state, recipe.line, self._memory.stages)
        self._challenges = Challenges(self._state, recipe.line, recipe.challenge, self._hold)
        self._faults = Faults(recipe, self._folder, self._memory.recorded)
        to_publish = cleanup.enter_context(Sockets(self._folder, self._memory.stages.run)).to("publish")
        alarms = LineAlarms(recipe, self._judges, self._state, self._metrics, to_publish)
        self._alarms = cleanup.enter_context(alarms)
        # The subscriber keeps far more than comes between two ticks, so that the metrics miss nothing.
        verdicts = f"ipc://{self._folder}/{VERDICTS}.ipc"
        subscriber = Subscriber(verdicts, most_waiting=100_000)
        self._listener = Listener(cleanup.enter_context(subscriber), self._metrics, self._heard)
        children = Children(
            recipe,
            self._folder,
            self._state,
            self._memory,
            meanwhile=self._meanwhile,
            failed=self._alarms.failed,
            restarted=self._metrics.restarted,
        )
        self._children = cleanup.enter_context(children)
        commands = self._commands
        if has_journal:
            commands = noting(commands, recipe.line, self._folder)
        self._control = cleanup.enter_context(Control(self._folder.parent / SOCKET, commands))

    @property
    def _commands(self) -> dict[str, Command]:
        """What people can have the line do by `edge ctl`."""
        return {
            "status": self._status,
            "hold": self._hold.asked_to_hold,
            "release": self._hold.asked_to_release,
            "testing": self._challenges.testing,
            "tested": self._challenges.tested,
            **self._alarms.commands,
        }

    def _write_plan(self, run: RunFolder, bundle_digest: str) -> None:
        """Write what the processes have to know of the run."""
        plan = Plan(
            recipe=self._recipe,
            recipe_digest=self._recipe_digest,
            bundle_digest=bundle_digest,
            pictures=pictures_of(self._judges),
            state=str(self._state.absolute()),
            left=tuple(map(str, run.left)),
        )
        (self._folder / PLAN).write_bytes(msgspec.json.encode(plan))
        rules = {
            camera: rules_of(judges, self._recipe.fusion) for camera, judges in by_camera(self._judges).items()
        }
        write_rules(self._folder, rules)

    def _heard(self, heard: Heard) -> None:
        # Known bad parts of a challenge test say nothing about product and camera.
        if not (isinstance(heard.message, Verdict) and self._challenges.is_testing):
            self._alarms.hear(heard.message, accepted=heard.topic.startswith(b"accept."))
        self._hear(heard.message)

    def _start(self) -> None:
        self._children.start()
        self._await_subscribers()
        self._children.start_captures()
        self._report_engine()

    def _report_engine(self) -> None:
        self._report.set_engine(self._children["infer"])
        if self._report.running:
            self._children.set_running(self._report.running)

    def _meanwhile(self) -> None:
        """Answer requests, and take the messages that were published, for about TICK_MS."""
        self._control.answer()
        self._listener.listen(TICK_MS)

    def _await_subscribers(self) -> None:
        """Wait for the first heartbeat of publish, so that the metrics count the first verdict too.

        Then wait until subscribers that were there before the line have had the time to connect.
        """
        end_ns = time.monotonic_ns() + round(STOP_S * 1e9) + self._recipe.publish.heartbeat_ms * 1_000_000
        while not self._listener.has_heard:
            self._meanwhile()
            if time.monotonic_ns() > end_ns:
                raise LineError("publish: no heartbeat came: is the ipc socket in /dev/shm blocked?")
        while time.monotonic_ns() < int(self._memory.stages["publish"]["ready_ns"][0]) + CONNECT_NS:
            self._meanwhile()

    def __exit__(self, *error: object) -> None:
        with self._cleanup:
            self._stop()

    @property
    def ended(self) -> bool:
        """Whether every capture has finished and every captured part has its verdict."""
        return self._children.captures_ended and not self._memory.waiting

    @property
    def captured(self) -> int:
        """Number of parts that the cameras captured since the line started."""
        return self._memory.captured

    @property
    def folder(self) -> Path:
        """Folder in shared memory with the ledgers, rings, plan and sockets of this run."""
        return self._folder

    def pid(self, name: str) -> int | None:
        """Return the process id of a process such as `infer` or `capture.top`, or None if it does not run."""
        return self._children[name].pid

    def tick(self) -> None:
        """Restart stages that have ended, and take the messages that were published. This lasts about TICK_MS.

        The caller repeats this while the line runs. Raises LineError if the line's folder was removed, because
        the line cannot go on without its folder.
        """
        if not self._memory.is_there:
            raise LineError(f"{self._folder}: the folder of the running line was removed: start the line again")
        self._tick()

    def _tick(self) -> None:
        now_ns = time.monotonic_ns()
        self._children.tick(now_ns)
        self._report_engine()
        self._control.answer()
        self._challenges.tick(now_ns)
        faults = {"hold": self._memory.stages.hold, "challenge": self._challenges.fault}
        for name, text in (faults | self._faults.at(now_ns)).items():
            self._alarms.fault(name, text)
        self._alarms.tick()
        dropped = self._control.dropped + self._listener.dropped
        self._report.set(self._children, dropped=dropped, challenge_due=bool(self._challenges.fault))
        # A process that ends is noticed at once.
        self._listener.listen(TICK_MS, [self._children.ends])

    def _status(self, keys: dict[str, Any]) -> dict[str, Any]:
        msgspec.convert(keys, NoKeys)
        state, reason = state_of(self._listener.heartbeat)
        status = Status(
            line=self._recipe.line,
            pid=os.getpid(),
            run=self._memory.stages.run.hex(),
            state=state,
            reason=reason,
            captured=self._memory.captured,
            published=self._memory.published,
            recipe=self._recipe_digest,
            bundle=digest_of(self._judges),
            engine=self._report.running,
            hold=self._hold.held,
            challenge=self._challenges.fault,
            last_test=self._challenges.last,
            state_folder=str(self._state.resolve()),
            dropped=self._control.dropped,
            stages=stages_of(self._children),
        )
        found: dict[str, Any] = msgspec.to_builtins(status)
        return found

    def _stop(self) -> None:
        """End capture, wait until the captured parts have their verdicts, and end the other stages."""
        self._children.stop_captures()
        self._memory.stages["publish"]["ended_ns"] = time.monotonic_ns()
        end_ns = time.monotonic_ns() + round(self._recipe.timing.deadline_ms * 1e6 + STOP_S * 1e9)
        while not self.ended and time.monotonic_ns() < end_ns:
            self._tick()
        if not self.ended:
            log.error("%d parts are left without a verdict", self._memory.waiting)
        self._listener.listen(TICK_MS)
        self._children.stop()
        if self._recipe.journal:
            finish_journal(self._children["journal"], self._folder, STOP_S)
