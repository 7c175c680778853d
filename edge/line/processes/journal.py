"""Runs the journal process, which writes what the line publishes into a file that outlasts the line."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec
import zmq

from ...errors import JournalError, JournalFull, LineError
from ...journal.commands import noted
from ...journal.condition import Condition, condition_in, tell
from ...journal.store import journal_folder
from ...memory.ledger import Ledger
from ...memory.stages import Stages
from ...stages.journal import COMMIT_MS, MOST_EVENTS, JournalWriter
from ..plan import VERDICTS, read_plan
from ..run_folder import ledgers_in, stages_path
from . import Run

log = logging.getLogger(__name__)

#: What the journal hears besides verdicts, which it takes from the ledgers.
EVENTS = ("alarm.",)
#: If publish shows no heartbeat for this time, it ends nothing any more.
SILENT_NS = 2_000_000_000


def run(run: Run) -> None:
    """Write verdicts and events. After the stop signal, continue until each part's verdict is written."""
    plan, settings = run.plan, run.plan.recipe.journal
    assert settings is not None
    number = run.stages.run.hex()
    left = {number: ledgers for path in plan.left for number, ledgers in _left(Path(path)).items()}
    writer = JournalWriter(
        journal_folder(settings, Path(plan.state)),
        plan.recipe.line,
        number,
        {**left, number: run.ledgers},
        start=msgspec.json.encode(_start(run)),
        keep_days=settings.keep_days,
        keep_mb=settings.keep_mb,
        condition=condition_in(run.folder),
        told=partial(tell, run.folder),
        commands=partial(noted, run.folder),
    )
    try:
        writer.open()
    except JournalError as error:
        # A full disk stops no line, and later nothing of the journal does.
        if not isinstance(error, JournalFull) and not run.stages[run.name]["ready_ns"][0]:
            raise
        writer.fail(error, time.monotonic_ns())
    socket = run.sockets.listener(f"ipc://{run.folder}/{VERDICTS}.ipc", EVENTS)
    run.liveness.ready()
    while not run.liveness.stopping or (writer.is_waiting and not _publish_is_silent(run)):
        run.liveness.beat()
        _hear(socket, writer)
        writer.step(time.monotonic_ns())
    if writer.close(msgspec.json.encode({"line": plan.recipe.line, "pid": os.getpid()})):
        for path in plan.left:
            tell(Path(path), Condition(closed=True))


def _start(run: Run) -> dict[str, object]:
    plan = run.plan
    return {
        "line": plan.recipe.line,
        "recipe": plan.recipe_digest,
        "bundle": plan.bundle_digest,
        "pid": os.getpid(),
    }


def _left(folder: Path) -> dict[str, dict[str, Ledger]]:
    """Return the ledgers of a killed run by camera, under the run's number; nothing if it had no journal."""
    try:
        if read_plan(folder).recipe.journal is None:
            return {}
        number = Stages.open(stages_path(folder)).run.hex()
        return {number: {path.stem: Ledger.open(path) for path in ledgers_in(folder)}}
    except (OSError, LineError, msgspec.MsgspecError) as error:
        log.error("%s: its last verdicts are not written: %s", folder, error)
        return {}


def _publish_is_silent(run: Run) -> bool:
    return time.monotonic_ns() - int(run.stages["publish"]["beat_ns"][0]) > SILENT_NS


def _hear(socket: zmq.Socket[bytes], writer: JournalWriter) -> None:
    """Wait COMMIT_MS for events of the line, and give those that came to the writer."""
    if not socket.poll(COMMIT_MS):
        return
    for parts in _received(socket):
        if len(parts) == 2:
            writer.event(parts[0].decode(errors="replace"), parts[1], time.time_ns())


def _received(socket: zmq.Socket[bytes]) -> Iterator[list[bytes]]:
    for _ in range(MOST_EVENTS):
        try:
            yield socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return
