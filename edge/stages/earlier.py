"""Reads the last verdicts of killed runs, which the publish process of the next run still makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..memory.follow import Follower
from ..memory.ledger import Ledger
from .kept import Kept


@dataclass
class _Run:
    name: str
    ledgers: Mapping[str, Ledger]
    follower: Follower


class Earlier:
    """Keeps the verdicts of runs before the present one, oldest first, until each has its last verdict.

    `runs` are the number of each run in hexadecimal, and its ledgers. They come before the present one.
    """

    def __init__(self, kept: Kept, runs: Sequence[tuple[str, Mapping[str, Ledger]]]) -> None:
        self._kept = kept
        self._open = [_Run(name, ledgers, Follower(ledgers)) for name, ledgers in runs]
        for name, _ in runs:
            kept.begin(name)

    def read(self) -> None:
        """Keep what was published since the last call, and note which runs have got their last verdict."""
        for run in list(self._open):
            # Asked before the verdicts are read, so that the last one is among them.
            has_all = not any(ledger.waiting for ledger in run.ledgers.values())
            for one in run.follower.take():
                record = one.record
                self._kept.add(run.name, one.number, record.topic, record.body, record.published_ns)
            if has_all:
                self._kept.end(run.name)
                self._open.remove(run)
