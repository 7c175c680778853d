"""Runs the preprocess process, which prepares each judge's input for the parts that come."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TypeGuard

import msgspec

from ...memory.ledger import Ledger
from ...memory.ring import Ring
from ...messages import Frame, Message, Running
from ...stages.inbox import Inbox
from ...stages.liveness import Liveness
from ...stages.loop import relay
from ...stages.preprocess import PreprocessStep
from ...stages.sockets import Sockets
from ..plan import RUNNING, Plan
from .judges import looking_judges


def run(plan: Plan, folder: Path, liveness: Liveness, sockets: Sockets, ledger: Ledger, ring: Ring) -> None:
    """Prepare the inputs of each part that comes, until the stop signal comes."""
    preparers = [judge.preparer() for judge in looking_judges(plan)]
    shape = plan.recipe.source.shape

    def fits(message: Message) -> TypeGuard[Frame]:
        return isinstance(message, Frame) and message.shape == shape

    inbox = Inbox(sockets.inbox("preprocess"), ledger, "preprocess", fits)
    liveness.ready()

    # Not read before the first part comes: until then infer may still be loading its engines.
    @cache
    def warped_by_engine() -> tuple[bool, ...]:
        return msgspec.json.decode((folder / RUNNING).read_bytes(), type=Running).warped_by_engine

    step = PreprocessStep(ring, preparers, warped_by_engine)
    relay("preprocess", liveness, inbox, sockets.to("infer"), sockets.to("publish"), step, plan.guard_ns)
