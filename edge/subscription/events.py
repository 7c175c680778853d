"""Defines what a subscriber is told besides verdicts and heartbeats: verdicts that are lost, and silence."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Missed:
    """Verdicts that the line published, and that this subscriber can no longer get.

    Their parts were not acted upon here. `last` is None if nobody knows how many verdicts the run had after
    `first`; there may have been none.
    """

    run: str  # hex of the run's number, as in the verdicts
    first: int  # number of the first verdict that is lost
    last: int | None

    def __str__(self) -> str:
        if self.last is None:
            return f"verdicts of run {self.run} from number {self.first} on may be lost: the run has ended"
        if self.first == self.last:
            return f"verdict {self.first} of run {self.run} is lost"
        return f"verdicts {self.first} to {self.last} of run {self.run} are lost"


@dataclass(frozen=True, kw_only=True)
class Silent:
    """No heartbeat of the line has come for `silent_ms`: no part may pass until one comes again.

    The subscriber is told when the silence begins, and again for as long as it lasts.
    """

    silent_ms: int

    def __str__(self) -> str:
        return f"no heartbeat for {self.silent_ms / 1000:.1f} s"
