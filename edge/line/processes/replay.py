"""Runs the replay process, which answers subscribers that missed verdicts. It only reads what publish sent."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...errors import LineError
from ...journal.store import journal_folder, journal_path
from ...memory.confirmed import CONFIRMED, Confirmed
from ...memory.follow import Follower, Published
from ...memory.ledger import Ledger
from ...memory.stages import Stages
from ...stages.earlier import Earlier
from ...stages.kept import Kept
from ...stages.replay import Answers, Replayer, run_replay
from ..endpoint import claim
from ..plan import Plan
from ..run_folder import ledgers_in, stages_path
from . import Run

log = logging.getLogger(__name__)


def run(run: Run) -> None:
    """Answer questions at the replay endpoint of the recipe until the stop signal comes."""
    publish, kept = run.plan.recipe.publish, Kept()
    claim(publish.replay, "publish.replay")
    gate = run.sockets.gate(Path(publish.keys)) if publish.keys else None
    socket = run.sockets.replier(publish.replay, gate)
    earlier = Earlier(kept, list(_left(run.plan.left)))
    follower = Follower(run.ledgers)

    def follow() -> Sequence[Published]:
        earlier.read()
        return follower.take()

    confirmed = _confirmed(run.folder, publish.confirm)
    answers = Answers(run.stages.run.hex(), kept, confirmed, follow, _journal(run.plan))
    run_replay(run.liveness, Replayer(socket, answers, gate, run.stages[run.name]))


def _left(folders: Sequence[str]) -> Iterator[tuple[str, dict[str, Ledger]]]:
    """Yield the number of each killed run and its ledgers, oldest first."""
    for folder in map(Path, folders):
        try:
            ledgers = {path.stem: Ledger.open(path) for path in ledgers_in(folder)}
            yield Stages.open(stages_path(folder)).run.hex(), ledgers
        except LineError as error:
            log.error("its verdicts cannot be asked for: %s", error)


def _journal(plan: Plan) -> Path | None:
    """Return the file of the line's journal. None: it has none."""
    if (settings := plan.recipe.journal) is None:
        return None
    return journal_path(journal_folder(settings, Path(plan.state)), plan.recipe.line)


def _confirmed(folder: Path, names: Sequence[str]) -> Confirmed | None:
    """Return the confirmations of the run: those of the process before this one, or a new file."""
    if not names:
        return None
    path = folder / CONFIRMED
    return Confirmed.open(path) if path.exists() else Confirmed.create(path, names)
