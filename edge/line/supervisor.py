"""Supervises a line: makes its shared memory, starts, watches and restarts its stages, and stops them.

The supervisor creates the ledger, which is the table of all parts. It restarts the publish stage too, so each
captured part gets its verdict even if a stage fails. To stop the line, it ends the capture stage first. It ends
the other stages when every captured part has its verdict.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, get_args

import msgspec

from ..belt.track import Track
from ..errors import LineError
from ..journal.condition import condition_in, is_behind
from ..judges.judge import Judge, areas_of, by_camera, digest_of, pictures_of, rules_of
from ..judges.rules import write_rules
from ..memory.ledger import Ledger
from ..memory.recorded import Recorded
from ..memory.ring import Ring
from ..memory.stages import Stages
from ..messages import Broadcast, Running, Verdict
from ..monitoring.metrics import Metrics
from ..recipe import Recipe, Runtime
from ..stages.looks import record_bytes
from ..stages.sockets import Sockets
from ..subscriber import Heard, Subscriber
from .alarms import LineAlarms
from .challenges import Challenges
from .child import TRY_AGAIN, Child
from .control import SOCKET, Command, Control, NoKeys
from .descriptors import raise_limit
from .epoch import next_epoch
from .faults import Faults
from .forkserver import ForkServer
from .hold import Hold
from .listener import Listener
from .noted import noting
from .plan import PLAN, RUNNING, SPARE, VERDICTS, Plan, process_of, processes
from .run_folder import RunFolder, ledger_path, ring_path, stages_path, track_path
from .spare import Spare
from .status import Status, stages_of, state_of

log = logging.getLogger(__name__)

TICK_MS = 20
#: Capture starts when publish has been ready for this time. ZeroMQ connects again after 100 to 200 ms.
CONNECT_NS = 300_000_000
#: A stage that was told to stop is killed after this time.
STOP_S = 5.0
#: The line does not start if one of its stages is killed, or loses its GPU, more often than this meanwhile.
MOST_KILLS = 3


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
        self._reported_infer: int | None = None
        self._running: Running | None = None
        #: What people can have the line do by `edge ctl`.
        self.commands: dict[str, Command] = {"status": self._status}

    def __enter__(self) -> Line:
        raise_limit()
        with ExitStack() as cleanup:
            self._run = cleanup.enter_context(RunFolder(self._recipe.line, journal=bool(self._recipe.journal)))
            self._folder = self._run.path
            self._make_memory()
            self._hold = Hold(self._state, self._recipe.line, self._stages)
            self._challenges = Challenges(self._state, self._recipe.line, self._recipe.challenge, self._hold)
            self.commands |= {"hold": self._hold.asked_to_hold, "release": self._hold.asked_to_release}
            self.commands |= {"testing": self._challenges.testing, "tested": self._challenges.tested}
            self._alarms = self._with_alarms(cleanup)
            self._faults = Faults(self._recipe, self._folder, self._recorded)
            digest = digest_of(self._judges)
            plan = Plan(
                recipe=self._recipe,
                recipe_digest=self._recipe_digest,
                bundle_digest=digest,
                pictures=pictures_of(self._judges),
                state=str(self._state.absolute()),
                left=tuple(map(str, self._run.left)),
            )
            (self._folder / PLAN).write_bytes(msgspec.json.encode(plan))
            rules = {
                camera: rules_of(judges, self._recipe.fusion)
                for camera, judges in by_camera(self._judges).items()
            }
            write_rules(self._folder, rules)
            # The subscriber keeps far more than comes between two ticks, so that the metrics miss nothing.
            subscriber = Subscriber(
                f"ipc://{self._folder}/{VERDICTS}.ipc", most_waiting=100_000, reconnect_ms=10
            )
            self._listener = Listener(cleanup.enter_context(subscriber), self._metrics, self._heard)
            self._forks = cleanup.enter_context(ForkServer(self._folder))
            names = processes(self._recipe)
            self._children = {name: Child(self._folder, name, self._stages, self._forks) for name in names}
            self._spare = Spare(
                Child(self._folder, SPARE, self._stages, self._forks),
                self._children["infer"],
                self._recipe.engine,
            )
            for child in (*self._children.values(), self._spare.child):
                cleanup.callback(child.kill)
            path = self._folder.parent / SOCKET
            if self._recipe.journal:
                self.commands = noting(self.commands, self._recipe.line, self._folder)
            self._control = cleanup.enter_context(Control(path, self.commands))
            self._start()
            self._cleanup = cleanup.pop_all()
        return self

    def _with_alarms(self, cleanup: ExitStack) -> LineAlarms:
        """Return the alarms of the line, and let people list and acknowledge them."""
        sockets = cleanup.enter_context(Sockets(self._folder, self._stages.run))
        alarms = LineAlarms(self._recipe, self._judges, self._state, self._metrics, sockets.to("publish"))
        self.commands |= alarms.commands
        return cleanup.enter_context(alarms)

    def _heard(self, heard: Heard) -> None:
        # Known bad parts of a challenge test say nothing about product and camera.
        if not (isinstance(heard.message, Verdict) and self._challenges.is_testing):
            self._alarms.hear(heard.message, accepted=heard.topic.startswith(b"accept."))
        self._hear(heard.message)

    def _make_memory(self) -> None:
        """Make the rows of the processes, and a ledger and a ring for each camera."""
        self._stages = Stages.create(stages_path(self._folder), (*processes(self._recipe), SPARE))
        self._ledgers: dict[str, Ledger] = {}
        self._rings: dict[str, Ring] = {}
        if self._recipe.belt.by == "encoder":
            Track.create(track_path(self._folder))
        seeing = by_camera(self._judges)
        for camera, judges in seeing.items():
            # The first camera's rows are the parts, whose verdicts tell of all cameras.
            told = [judges] if self._ledgers else list(seeing.values())
            most = record_bytes([len(each) for each in told])
            self._ledgers[camera] = Ledger.create(ledger_path(self._folder, camera), most)
            path = ring_path(self._folder, camera)
            self._rings[camera] = Ring.create(path, slots=self._recipe.timing.slots, **areas_of(judges))
        self._recorded = Recorded.create(self._folder) if self._recipe.recorder else None
        self._captures = {process_of("capture", camera, self._recipe): camera for camera in self._ledgers}
        self._ended: set[str] = set()

    def __exit__(self, *error: object) -> None:
        with self._cleanup:
            self._stop()

    @property
    def ended(self) -> bool:
        """Whether every capture has finished and every captured part has its verdict."""
        return self._ended >= self._captures.keys() and not self._waiting

    @property
    def _waiting(self) -> int:
        return sum(ledger.waiting for ledger in self._ledgers.values())

    @property
    def _published(self) -> int:
        return sum(ledger.published for ledger in self._ledgers.values())

    @property
    def captured(self) -> int:
        """Number of parts that the cameras captured since the line started."""
        return sum(ledger.captured for ledger in self._ledgers.values())

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
        if not all(ledger_path(self._folder, camera).exists() for camera in self._ledgers):
            raise LineError(f"{self._folder}: the folder of the running line was removed: start the line again")
        self._tick()

    def _tick(self) -> None:
        now_ns = time.monotonic_ns()
        self._forks.tick()
        for name, child in self._children.items():
            if name in self._captures and (name in self._ended or child.exit_code == 0):
                self._ended.add(name)
            elif child.tick(now_ns) and self._forks.is_loaded:
                self._restart(name, child, now_ns)
            self._metrics.stage_up(name, child.ready)
            self._metrics.dropped(name, child.dropped)
            self._metrics.away(name, child.away_ns)
        self._report_engine()
        self._spare.tick(now_ns, self._forks.is_loaded)
        free = (ring.free(self._ledgers[camera].published) for camera, ring in self._rings.items())
        self._metrics.free_slots(min(free))
        if self._recorded:
            self._metrics.recorder(self._recorded.all())
        if self._recipe.journal:
            self._metrics.journal(condition_in(self._folder))
        self._control.answer()
        self._metrics.dropped("control", self._control.dropped + self._listener.dropped)
        self._challenges.tick(now_ns)
        self._metrics.held(bool(self._stages.hold))
        self._metrics.challenge(bool(self._challenges.fault))
        told = {"hold": self._stages.hold, "challenge": self._challenges.fault}
        for name, text in (told | self._faults.at(now_ns)).items():
            self._alarms.fault(name, text)
        self._alarms.tick()
        # A process that ends is noticed at once.
        self._listener.listen(TICK_MS, [self._forks.ends])

    def _restart(self, name: str, child: Child, now_ns: int) -> None:
        """Restart a stage. If the system cannot start the stage now, try again later."""
        self._alarms.failed(name)
        try:
            if name in self._captures:
                self._next_epoch(name)
            if name != "infer" or not self._spare.take_over():
                child.restart()
        except (OSError, LineError) as error:
            log.error("%s: cannot be started: %s", name, error)
            child.postpone(now_ns)
        else:
            self._metrics.restarted(name)

    def _start(self) -> None:
        """Start all processes but capture together, then capture, so that who receives listens before."""
        self._start_together([name for name in self._children if name not in self._captures])
        self._await_subscribers()
        for name in self._captures:
            self._next_epoch(name)
        self._start_together(list(self._captures))
        self._report_engine()

    def _start_together(self, names: Sequence[str]) -> None:
        """Start processes, and wait until they are ready. Raise LineError if one of them cannot start."""
        self._await_forks()
        for name in names:
            try:
                self._children[name].start()
            except (OSError, LineError) as error:
                log.error("%s: cannot be started: %s", name, error)
        waiting = list(names)
        while waiting:
            for name in list(waiting):
                child = self._children[name]
                # A short source may end before the line counts as started.
                if child.ready or (child.exit_code == 0 and name in self._captures):
                    waiting.remove(name)
                    continue
                code = child.exit_code
                failed = code is not None and code >= 0 and code != TRY_AGAIN
                if failed or (code is not None and child.restarts == MOST_KILLS):
                    raise LineError(f"{name}: {child.error}{self._remedy(child)}")
                # A process that was killed, for example for lack of memory, gets another try. So does infer if
                # the GPU failed.
                if child.tick(now_ns := time.monotonic_ns()) and self._forks.is_loaded:
                    self._restart(name, child, now_ns)
            self._forks.tick()
            self._control.answer()
            self._listener.listen(TICK_MS)

    def _await_forks(self) -> None:
        """Wait until processes can be forked. Raise LineError if the fork server fails or is often killed."""
        while not self._forks.is_loaded:
            code = self._forks.exit_code
            if code is not None and (code >= 0 or self._forks.restarts == MOST_KILLS):
                raise LineError(f"the fork server ended with status {code}: see the log")
            self._forks.tick()
            self._listener.listen(TICK_MS)

    def _remedy(self, child: Child) -> str:
        """Return what to do about a stage that does not start; empty if its own error says it."""
        kind = self._recipe.engine.kind
        if child.name != "infer" or kind not in get_args(Runtime) or "engine.kind" in child.error:
            return ""
        return f": engine.kind {kind!r} demands the GPU: see `dmesg`, or set engine.kind to 'auto'"

    def _finish_journal(self) -> None:
        """Let another process write the last verdicts if the journal's process ended before it had."""
        if not (self._recipe.journal and is_behind(self._folder)) or condition_in(self._folder).error:
            return
        journal, end_ns = self._children["journal"], time.monotonic_ns() + round(STOP_S * 1e9)
        try:
            journal.restart()
        except (OSError, LineError) as error:
            log.error("journal: cannot be started: %s", error)
            return
        while not journal.ready and journal.exit_code is None and time.monotonic_ns() < end_ns:
            time.sleep(TICK_MS / 1000)
        journal.terminate()
        journal.wait(STOP_S)

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
            self._spare.set_running(running)
            self._metrics.engine(running, self._recipe_digest, digest_of(self._judges))

    def _status(self, keys: dict[str, Any]) -> dict[str, Any]:
        msgspec.convert(keys, NoKeys)
        state, reason = state_of(self._listener.heartbeat)
        status = Status(
            line=self._recipe.line,
            pid=os.getpid(),
            run=self._stages.run.hex(),
            state=state,
            reason=reason,
            captured=self.captured,
            published=self._published,
            recipe=self._recipe_digest,
            bundle=digest_of(self._judges),
            engine=self._running,
            hold=self._hold.held,
            challenge=self._challenges.fault,
            last_test=self._challenges.last,
            state_folder=str(self._state.resolve()),
            dropped=self._control.dropped,
            stages=stages_of(self._children),
        )
        found: dict[str, Any] = msgspec.to_builtins(status)
        return found

    def _await_subscribers(self) -> None:
        """Wait for the first heartbeat of publish, so that the metrics count the first verdict too.

        Then wait until subscribers that were there before the line have had the time to connect.
        """
        end_ns = time.monotonic_ns() + round(STOP_S * 1e9) + self._recipe.publish.heartbeat_ms * 1_000_000
        while not self._listener.has_heard:
            self._listener.listen(TICK_MS)
            if time.monotonic_ns() > end_ns:
                raise LineError("publish: no heartbeat came: is the ipc socket in /dev/shm blocked?")
        while time.monotonic_ns() < int(self._stages["publish"]["ready_ns"][0]) + CONNECT_NS:
            self._listener.listen(TICK_MS)

    def _next_epoch(self, capture: str) -> None:
        """Count up the epoch before a capture starts. Keep its epoch if no part has been captured in it."""
        ledger = self._ledgers[self._captures[capture]]
        if ledger.epoch and not ledger.last_sequence(ledger.epoch):
            return
        ledger.epoch = next_epoch(self._state, self._recipe.line)

    def _stop(self) -> None:
        """End capture, wait until the captured parts have their verdicts, and end the other stages."""
        for name in self._captures:
            self._children[name].terminate()
        for name in self._captures:
            self._children[name].wait(STOP_S)
            self._ended.add(name)
        end_ns = time.monotonic_ns() + round(self._recipe.timing.deadline_ms * 1e6 + STOP_S * 1e9)
        while not self.ended and time.monotonic_ns() < end_ns:
            self._tick()
        if not self.ended:
            log.error("%d parts are left without a verdict", self._waiting)
        self._listener.listen(TICK_MS)
        rest = [child for name, child in reversed(self._children.items()) if name not in self._captures]
        for child in (*rest, self._spare.child):
            child.terminate()
        for child in (*rest, self._spare.child):
            child.wait(STOP_S)
        self._finish_journal()
