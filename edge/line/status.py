"""Defines the answer to the command `status`: the state of a line and of each of its processes."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from ..messages import Heartbeat, Running
from .child import Child
from .due import LastTest
from .hold import Held


class StageStatus(Struct, frozen=True, kw_only=True):
    """The process of one stage."""

    pid: int | None  # None: it does not run now
    ready: bool
    restarts: int
    dropped: int  # messages that were none of this run


class Status(Struct, frozen=True, kw_only=True):
    """What a running line is and does. All counts are since the line started."""

    line: str
    pid: int  # of the supervisor
    run: str  # number of the run
    state: str  # idle, judging, blind or held; starting: before the first heartbeat
    reason: str  # why it is blind or held
    captured: int  # parts
    published: int  # verdicts
    recipe: str  # SHA-256 of the recipe file
    bundle: str  # SHA-256, as in verdicts
    engine: Running | None  # None: infer is not ready yet
    hold: Held | None  # None: it is not held
    challenge: str  # why a challenge test is due, or that the last one failed; empty: neither
    last_test: LastTest | None  # the last challenge test on the belt
    state_folder: str  # with the reports of challenge tests
    dropped: int  # messages on the control socket that were no request
    stages: dict[str, StageStatus]


def stages_of(children: Mapping[str, Child]) -> dict[str, StageStatus]:
    """Return the state of each stage's process."""
    return {
        name: StageStatus(pid=child.pid, ready=child.ready, restarts=child.restarts, dropped=child.dropped)
        for name, child in children.items()
    }


def state_of(heartbeat: Heartbeat | None) -> tuple[str, str]:
    """Return the state of a line whose last heartbeat this is, and the reason for it."""
    return (heartbeat.state, heartbeat.reason) if heartbeat else ("starting", "")
