"""The supervisor: makes a line's shared memory, starts its stages in order, watches them, stops in order.

Whatever a stage does, the ledger is here and publish is started anew, so each part that was captured gets
its verdict. A stop first ends capture and lets the parts in flight have theirs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import msgspec
import zmq

from ..errors import LineError
from ..judges.judge import Judge, areas_of, digest_of, pictures_of, rules_of
from ..judges.rules import write_rules
from ..memory.ledger import ROWS, STAGES, Ledger
from ..memory.ring import Ring
from ..messages import Heartbeat, Running, Verdict
from ..monitoring.metrics import Metrics
from ..recipe import Recipe
from ..wire import heartbeat_from, verdict_from
from .child import Child
from .descriptors import raise_limit
from .epoch import next_epoch
from .plan import PLAN, RUNNING, VERDICTS, Plan
from .run_folder import RunFolder

log = logging.getLogger(__name__)

TICK_MS = 20
HEARD_AT_ONCE = 1000  # messages, before the stages are looked after again
STOP_S = 5.0  # for a stage to stop when told
KILLED = 3  # so often a stage may be killed while the line starts
START_ORDER = tuple(reversed(STAGES))  # nobody sends before the next one listens


class Line:
    """A running line; `with` makes and starts it, and stops it in order.

    `hear` is called with each verdict and heartbeat that is published. Raises LineError where the line
    cannot start: its name is taken, memory or a port is not to be had, a stage ends before it is ready.
    """

    def __init__(
        self,
        recipe: Recipe,
        recipe_digest: str,
        judges: tuple[Judge, ...],
        *,
        state: Path,
        metrics: Metrics,
        hear: Callable[[Verdict | Heartbeat], None],
    ) -> None:
        self._recipe, self._recipe_digest, self._judges = recipe, recipe_digest, judges
        self._state, self._metrics, self._hear = state, metrics, hear
        self._cleanup = ExitStack()
        self._ended = False
        self._told_places: dict[tuple[int, int], None] = {}  # the last ones, in the order in which they came
        self._told_infer: int | None = None

    def __enter__(self) -> Line:
        raise_limit()
        with ExitStack() as cleanup:
            self._run = cleanup.enter_context(RunFolder(self._recipe.line))
            self._folder = self._run.path
            self._ledger = Ledger.create(self._folder / "ledger")
            self._ring = self._make_ring()
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
            self._verdicts = cleanup.enter_context(_Verdicts(self._folder))
            self._children = {name: Child(self._folder, name, self._ledger) for name in STAGES}
            cleanup.callback(self._kill)
            self._start()
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        with self._cleanup:
            self._stop()

    @property
    def ended(self) -> bool:
        """The source has delivered its last frame and every part has its verdict."""
        return self._ended and self._ledger.published == self._ledger.captured

    @property
    def captured(self) -> int:
        return self._ledger.captured

    @property
    def folder(self) -> Path:
        """Where the line's shared memory and sockets are."""
        return self._folder

    def pid(self, stage: str) -> int | None:
        """The process of a stage, None while there is none."""
        return self._children[stage].pid

    def tick(self) -> None:
        """Look after the stages and hear what is published; takes at most about TICK_MS.

        Raises LineError where the line cannot go on: its folder was removed.
        """
        if not self._run.is_there:
            raise LineError(f"{self._folder}: the folder of the running line was removed: start it anew")
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
        self._tell_engine()
        self._metrics.free_slots(self._ring.free(self._ledger.published))
        self._verdicts.hear(TICK_MS, self._told)

    def _restart(self, name: str, child: Child, now_ns: int) -> None:
        """Start a stage anew, or try again later where the machine has no room for it."""
        try:
            if name == "capture":
                self._next_epoch()
            child.restart()
        except (OSError, LineError) as error:
            log.error("%s: cannot be started: %s", name, error)
            child.postpone(now_ns)
        else:
            self._metrics.restarted(name)

    def _told(self, message: Verdict | Heartbeat) -> None:
        if isinstance(message, Verdict):
            place = (message.epoch, message.sequence)
            if place in self._told_places:
                return  # sent again after publish was started anew
            self._told_places[place] = None
            if len(self._told_places) > 2 * ROWS:
                del self._told_places[next(iter(self._told_places))]
            self._metrics.observe(message)
        else:
            self._metrics.heartbeat(message)
        self._hear(message)

    def _make_ring(self) -> Ring:
        slots, areas = self._recipe.timing.slots, areas_of(self._recipe, self._judges)
        return Ring.create(self._folder / "ring", slots=slots, **areas)

    def _start(self) -> None:
        """Start all but capture at once, and capture when they are ready."""
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
                        return  # a short source, over already
                    if child.exit_code is not None and (child.exit_code >= 0 or child.restarts == KILLED):
                        raise LineError(f"{name}: {child.error}")
                    if child.tick(now_ns := time.monotonic_ns()):  # it was killed, for want of memory say
                        self._restart(name, child, now_ns)
                self._verdicts.hear(TICK_MS, self._told)
        self._tell_engine()

    def _tell_engine(self) -> None:
        """Tell what infer runs on, once for each of its processes: a restarted one may take another engine."""
        infer = self._children["infer"]
        if infer.ready and infer.pid != self._told_infer:
            try:
                running = msgspec.json.decode((self._folder / RUNNING).read_bytes(), type=Running)
            except OSError as error:
                log.warning("what infer runs on cannot be told: %s", error)
                return
            self._told_infer = infer.pid
            self._metrics.engine(running, self._recipe_digest, digest_of(self._judges))

    def _await_heartbeat(self) -> None:
        """Wait until the supervisor hears what is published, so that it counts the first verdict too."""
        end_ns = time.monotonic_ns() + round(STOP_S * 1e9) + self._recipe.publish.heartbeat_ms * 1_000_000
        while not self._verdicts.heard:
            self._verdicts.hear(TICK_MS, self._told)
            if time.monotonic_ns() > end_ns:
                raise LineError("publish: no heartbeat came: is the ipc socket in /dev/shm blocked?")

    def _next_epoch(self) -> None:
        """Count up the epoch, unless the last one has no part: a camera that is away uses up none."""
        if self._ledger.epoch and not self._ledger.last_sequence(self._ledger.epoch):
            return
        self._ledger.epoch = next_epoch(self._state, self._recipe.line)

    def _stop(self) -> None:
        """End capture, let the parts in flight have their verdict, then end the other stages."""
        self._children["capture"].terminate()
        self._children["capture"].wait(STOP_S)
        self._ended = True
        end_ns = time.monotonic_ns() + round(self._recipe.timing.deadline_ms * 1e6 + STOP_S * 1e9)
        while not self.ended and time.monotonic_ns() < end_ns:
            self._tick()
        if not self.ended:
            log.error("%d parts are left without a verdict", self._ledger.captured - self._ledger.published)
        self._verdicts.hear(TICK_MS, self._told)
        for name in START_ORDER[:-1]:
            self._children[name].terminate()
        for name in START_ORDER[:-1]:
            self._children[name].wait(STOP_S)

    def _kill(self) -> None:
        for child in self._children.values():
            child.kill()


class _Verdicts:
    """The supervisor's own ear on what is published."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.heard = 0

    def __enter__(self) -> _Verdicts:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.set_hwm(100_000)  # read at every tick, so that nothing is missing from the metrics
        self._socket.reconnect_ivl = 10
        self._socket.subscribe(b"")
        self._socket.connect(f"ipc://{self._folder}/{VERDICTS}.ipc")
        return self

    def __exit__(self, *error: object) -> None:
        self._context.destroy(linger=0)

    def hear(self, timeout_ms: int, told: Callable[[Verdict | Heartbeat], None]) -> None:
        """Pass on what was published, waiting up to the timeout for the first message."""
        for _ in range(HEARD_AT_ONCE):
            if not self._socket.poll(timeout_ms):
                break
            timeout_ms = 0
            self.heard += 1
            topic, body = self._socket.recv_multipart()
            told(heartbeat_from(body) if topic.startswith(b"heartbeat.") else verdict_from(body))
