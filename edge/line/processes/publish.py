"""Runs the publish process, which sends verdicts. It reads the judges' rules from a file, not from bundles."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TypeGuard

import msgspec

from ...belt.course import Ended
from ...belt.join import Join
from ...belt.layout import layout_of
from ...errors import LineError
from ...judges.rules import Rules, read_rules
from ...memory.ledger import Ledger
from ...memory.stages import Stages
from ...messages import Notice, Sent
from ...recipe import Source, Video
from ...stages.inbox import Inbox
from ...stages.leftovers import Leftovers
from ...stages.notices import is_notice
from ...stages.publish import RECOVERY_NS, run_publish
from ...stages.publisher import Publisher
from ...stages.state import State
from ...stages.verdict import Identity, Reply, is_reply
from ..endpoint import claim
from ..plan import VERDICTS, Plan, process_of, read_plan
from ..run_folder import hold, ledger_path, stages_path
from . import Run

log = logging.getLogger(__name__)


def run(run: Run) -> None:
    """Publish verdicts. After the stop signal, continue until every captured part has its verdict."""
    plan, recipe = run.plan, run.plan.recipe
    rules = read_rules(run.folder)
    state = State(
        {one.name: run.stages[process_of("capture", one.name, recipe)] for one in recipe.cameras},
        {one.name: _recovery_ns(one.source) for one in recipe.cameras},
        run.stages.run,
        lambda: run.stages.hold,
    )
    identity = _identity(plan, run.stages)
    join = Join(run.ledgers, layout_of(recipe), run.course)

    def failed_ns() -> int:
        return max(int(run.stages[name]["failed_ns"][0]) for name in run.stages)

    publisher = Publisher(
        run.rings, run.ledgers, rules, identity, plan.guard_ns, state, join, failed_ns=failed_ns
    )

    def fits(message: Sent) -> TypeGuard[Reply | Notice]:
        if isinstance(message, Notice):
            return is_notice(message, recipe.line)
        return message.part.camera in rules and is_reply(message, len(rules[message.part.camera].judges))

    inbox = Inbox(run.sockets.inbox("publish"), run.ledgers, run.stages, "publish", fits)
    hold(run.folder)
    for endpoint in recipe.publish.endpoints:
        claim(endpoint)
    gate = run.sockets.gate(Path(recipe.publish.keys)) if recipe.publish.keys else None
    socket = run.sockets.publisher((*recipe.publish.endpoints, f"ipc://{run.folder}/{VERDICTS}.ipc"), gate)
    found = [_left(Path(path), plan, run.stages, rules) for path in plan.left]
    left = Leftovers([each for each in found if each is not None], time.monotonic_ns())
    heartbeat_ns = recipe.publish.heartbeat_ms * 1_000_000
    run_publish(run.liveness, publisher, inbox, socket, heartbeat_ns, left, run.stages["publish"], gate)


def _left(folder: Path, plan: Plan, stages: Stages, rules: Mapping[str, Rules]) -> Publisher | None:
    """Return the publisher of what a killed run has left. Returns None if a ledger cannot be opened."""
    of_then = plan
    try:
        of_then = read_plan(folder)
        rules = read_rules(folder)
    except (OSError, msgspec.MsgspecError) as error:
        log.warning("%s: %s: its parts get this run's recipe and bundle", folder, error)
    try:
        cameras = [camera.name for camera in of_then.recipe.cameras]
        ledgers = {camera: Ledger.open(ledger_path(folder, camera)) for camera in cameras}
        stages = Stages.open(stages_path(folder))
    except LineError as error:
        log.error("its parts get no verdict: %s", error)
        return None
    join = Join(ledgers, layout_of(of_then.recipe), Ended())
    state = State({}, {}, stages.run)
    return Publisher({}, ledgers, rules, _identity(of_then, stages), of_then.guard_ns, state, join, ended=True)


def _identity(plan: Plan, stages: Stages) -> Identity:
    unknown = plan.recipe.rule.unknown
    return Identity(
        line=plan.recipe.line,
        run=stages.run.hex(),
        recipe=plan.recipe_digest,
        bundle=plan.bundle_digest,
        accepted=frozenset(reason for reason, action in unknown.items() if action == "accept"),
    )


def _recovery_ns(source: Source) -> int:
    """Return the time in which a reopened camera that delivers nothing would fail again."""
    return RECOVERY_NS + (source.timeout_ms * 1_000_000 if isinstance(source, Video) else 0)
