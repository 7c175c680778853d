"""Hears a line without missing a verdict: finds gaps, asks for what is missing, and notices silence.

Needs only pyzmq and msgspec.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..keys import client_keys
from ..messages import Broadcast
from ..subscriber import WAIT_MS
from .events import Missed, Silent
from .order import Place
from .subscription import Subscription

__all__ = ["Missed", "Place", "Silent", "Subscription", "subscribe"]


def subscribe(
    endpoint: str,
    *topics: str,
    replay: str = "",
    after: Place | None = None,
    confirm: str = "",
    keys: str | os.PathLike[str] | None = None,
    silence_ms: int = 3000,
    patience_ms: int = 1000,
) -> Iterator[Broadcast | Missed | Silent]:
    """Return an endless iterator over what a line publishes on `endpoint`: each verdict once and in order.

    It yields `Verdict`, `Heartbeat` and `Alarm`, and two events of its own: `Missed` says which verdicts are
    lost, and `Silent` that no heartbeat has come for `silence_ms`. If topics are given, only messages whose
    topic begins with one of them are yielded, and these two events. Examples are `reject.` and `heartbeat.pcb`.
    The topic says what to do with a part: a gate must open only for verdicts under `accept.<line>`.

    `replay` is the line's replay endpoint. Verdicts that did not come are asked for there, and are yielded with
    `resent` true. Later verdicts wait for them for up to `patience_ms`. Without `replay`, they are lost.

    It begins with the first message that comes, or after the place `after`. With `confirm`, it tells the replay
    endpoint under this name which verdicts were handled, that is, for which the iterator was asked for the next
    message; it begins after the last one of them. `keys` is a folder with the subscriber's own pair of keys and
    the line's public key, for endpoints that ask for keys.

    Raise LineError at once if an endpoint is not a ZeroMQ endpoint, or if a key is missing. The iterator raises
    LineError if a message is not of this version, or if the line does not know the name to confirm under.
    """
    found = client_keys(Path(keys)) if keys is not None else None
    return _messages(
        Subscription(
            endpoint,
            topics,
            replay=replay,
            after=after,
            confirm=confirm,
            keys=found,
            silence_ms=silence_ms,
            patience_ms=patience_ms,
        )
    )


def _messages(subscription: Subscription) -> Iterator[Broadcast | Missed | Silent]:
    with subscription:
        while True:
            event = subscription.hear(WAIT_MS)
            if isinstance(event, Missed | Silent):
                yield event
            elif event is not None:
                yield event.message
