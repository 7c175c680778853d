"""Runs the alarms of a line: feeds them, has publish send what changes, sets metrics and keeps them on disk."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from ..alarms.alarms import Alarms
from ..judges.judge import Judge, digest_of
from ..messages import Alarm, Heartbeat, Notice, Verdict, utc
from ..monitoring.metrics import Metrics
from ..recipe import Recipe
from ..wire import alarm_topic, body_of
from .alarm_file import AlarmFile
from .control import Command, NoKeys

log = logging.getLogger(__name__)

#: What was learnt is written at least so often. An alarm that changes is written at once.
KEEP_NS = 60_000_000_000


class _Ack(msgspec.Struct, forbid_unknown_fields=True):
    """The keys of the command `ack`: the alarm's name, who acknowledges it, and whether to learn anew."""

    alarm: str
    by: str
    learn: bool = False


class LineAlarms:
    """The alarms of a running line. The end of `with` writes their memory.

    Calls `send` with each message for the subscribers. `state` is the folder that keeps the memory.
    """

    def __init__(
        self,
        recipe: Recipe,
        judges: tuple[Judge, ...],
        state: Path,
        metrics: Metrics,
        send: Callable[[Notice], None],
    ) -> None:
        self._recipe, self._metrics, self._send = recipe, metrics, send
        self._calibrations = {
            judge.choice.name: len(judge.rule.calibration)
            for judge in judges
            if judge.rule.calibration is not None
        }
        self._of = _digest(recipe, judges)
        self._file = AlarmFile(state, recipe.line)
        self._cleanup = ExitStack()
        self._keep_due_ns = 0
        self._noted = False
        #: What people can have the line do by `edge ctl`.
        self.commands: dict[str, Command] = {"alarms": self._list, "ack": self._ack}

    def __enter__(self) -> LineAlarms:
        memory, recipe = self._file.read(), self._recipe
        self._alarms = Alarms(recipe.line, recipe.alarms, self._calibrations, of=self._of, memory=memory)
        self._alarms.fault("state", self._file.problem)
        self._cleanup.enter_context(self._file)
        self._metrics.alarms(self._alarms.states)
        for alarm in self._alarms.active.values():
            log.warning("alarm %s is still %s: %s", alarm.alarm, alarm.state, alarm.text)
        return self

    def __exit__(self, *error: object) -> None:
        self._alarms.take(utc(time.time_ns()))  # nobody hears of the last changes now, but the next run
        self._file.keep(self._alarms.memory)
        self._cleanup.close()

    def hear(self, message: Verdict | Heartbeat | Alarm, *, accepted: bool) -> None:
        """Note a message that the line has published. `accepted` says whether a verdict's part may pass."""
        if isinstance(message, Verdict):
            self._noted = True
            self._alarms.note(message, accepted=accepted)
        elif isinstance(message, Heartbeat) and set(message.alarms) != self._alarms.active.keys():
            # Publish was restarted, or this heartbeat left before the last change came to publish.
            self.tick()  # a change that was not published yet has no time
            self._publish(self._alarms.active.values())

    def failed(self, stage: str) -> None:
        """Note that the process of a stage has ended unexpectedly."""
        self._alarms.failed(stage, time.monotonic_ns())

    def fault(self, name: str, text: str) -> None:
        """Note that a fault exists and what it is; with an empty text, that it has ended."""
        self._alarms.fault(name, text)

    def tick(self) -> None:
        """Publish and keep what has changed."""
        now_ns = time.monotonic_ns()
        self._alarms.tick(now_ns)
        self._alarms.fault("state", self._file.problem)
        changed = self._alarms.take(utc(time.time_ns()))
        for alarm in changed:
            said = f" by {alarm.by}" if alarm.by else ""
            log.warning("alarm %s %s%s: %s", alarm.alarm, alarm.state, said, alarm.text)
        if changed:
            self._publish(changed)
            self._metrics.alarms(self._alarms.states)
        if changed or ((self._noted or self._file.problem) and now_ns >= self._keep_due_ns):
            self._file.keep(self._alarms.memory)
            self._keep_due_ns, self._noted = now_ns + KEEP_NS, False

    def _publish(self, alarms: Iterable[Alarm]) -> None:
        topic, names = alarm_topic(self._recipe.line), tuple(self._alarms.active)
        # An empty notice still names the active alarms.
        told = [(alarm.alarm, body_of(alarm)) for alarm in alarms] or [("", b"")]
        for name, body in told:
            self._send(Notice(topic=topic, body=body, alarm=name, alarms=names))

    def _list(self, keys: dict[str, Any]) -> dict[str, Any]:
        msgspec.convert(keys, NoKeys)
        self.tick()
        found: dict[str, Any] = msgspec.to_builtins({"alarms": list(self._alarms.active.values())})
        return found

    def _ack(self, keys: dict[str, Any]) -> dict[str, Any]:
        asked = msgspec.convert(keys, _Ack)
        alarm = self._alarms.acknowledge(asked.alarm, asked.by, learn=asked.learn)
        found: dict[str, Any] = msgspec.to_builtins(alarm)
        return found


def _digest(recipe: Recipe, judges: tuple[Judge, ...]) -> str:
    """Return a digest of what pictures and scores depend on: the sources, the preparation and the bundles."""
    parts = (recipe.cameras, recipe.preprocess, digest_of(judges))
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()
