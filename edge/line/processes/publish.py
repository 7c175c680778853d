"""Runs the publish process, which sends verdicts. It reads the judges' rules from a file, not from bundles."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TypeGuard

import msgspec

from ...errors import LineError
from ...judges.rules import read_rules
from ...memory.ledger import Ledger
from ...memory.ring import Ring
from ...messages import Message
from ...recipe import Recipe, Video
from ...stages.inbox import Inbox
from ...stages.leftovers import Leftovers
from ...stages.liveness import Liveness
from ...stages.publish import RECOVERY_NS, Publisher, run_publish
from ...stages.sockets import Sockets
from ...stages.verdict import Identity, Reply, is_reply
from ..endpoint import claim
from ..plan import VERDICTS, Plan, read_plan
from ..run_folder import hold

log = logging.getLogger(__name__)


def run(plan: Plan, folder: Path, liveness: Liveness, sockets: Sockets, ledger: Ledger, ring: Ring) -> None:
    """Publish verdicts. After the stop signal, continue until every captured part has its verdict."""
    recipe, rules = plan.recipe, read_rules(folder)
    publisher = Publisher(ring, ledger, rules, _identity(plan), plan.guard_ns, _recovery_ns(recipe))

    def fits(message: Message) -> TypeGuard[Reply]:
        return is_reply(message, len(rules.judges))

    inbox = Inbox(sockets.inbox("publish"), ledger, "publish", fits)
    hold(folder)
    for endpoint in recipe.publish.endpoints:
        claim(endpoint)
    socket = sockets.publisher((*recipe.publish.endpoints, f"ipc://{folder}/{VERDICTS}.ipc"))
    found = [_left(Path(path), plan) for path in plan.left]
    left = Leftovers([run for run in found if run is not None], rules, time.monotonic_ns())
    run_publish(liveness, publisher, inbox, socket, recipe.publish.heartbeat_ms * 1_000_000, left)


def _left(folder: Path, plan: Plan) -> tuple[Ledger, Identity] | None:
    """Return the ledger of a killed run, and the facts about the line that its verdicts contain.

    Returns None if the ledger cannot be opened.
    """
    try:
        ledger = Ledger.open(folder / "ledger")
    except LineError as error:
        log.error("its parts get no verdict: %s", error)
        return None
    try:
        of_then = read_plan(folder)
    except (OSError, msgspec.MsgspecError) as error:
        log.warning("%s: %s: its parts get this run's recipe and bundle", folder, error)
        of_then = plan
    return ledger, _identity(of_then)


def _identity(plan: Plan) -> Identity:
    unknown = plan.recipe.rule.unknown
    return Identity(
        line=plan.recipe.line,
        recipe=plan.recipe_digest,
        bundle=plan.bundle_digest,
        accepted=frozenset(reason for reason, action in unknown.items() if action == "accept"),
    )


def _recovery_ns(recipe: Recipe) -> int:
    """Return the time in which a reopened camera that delivers nothing would fail again."""
    return RECOVERY_NS + (recipe.source.timeout_ms * 1_000_000 if isinstance(recipe.source, Video) else 0)
