"""Receives what a line publishes, counts its verdicts and passes all on. Ignores verdicts sent again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from ..errors import LineError
from ..memory.ledger import ROWS
from ..messages import Heartbeat, Verdict
from ..monitoring.metrics import Metrics
from ..subscriber import Heard, Subscriber

log = logging.getLogger(__name__)

#: Most messages to take before the supervisor checks the stages again.
MOST_AT_ONCE = 1000


class Listener:
    """Takes messages from `subscriber`, counts verdicts in `metrics`, and calls `hear` with each."""

    def __init__(self, subscriber: Subscriber, metrics: Metrics, hear: Callable[[Heard], None]) -> None:
        self._subscriber, self._metrics, self._hear = subscriber, metrics, hear
        # Epoch and sequence of the last verdicts, oldest first.
        self._seen: dict[tuple[int, int], None] = {}
        self.has_heard = False
        #: Number of published messages that could not be read.
        self.dropped = 0
        #: The last one; None before the first.
        self.heartbeat: Heartbeat | None = None

    def listen(self, timeout_ms: int, others: Sequence[int] = ()) -> None:
        """Take the messages that have come. If there are none, wait up to `timeout_ms` for the first one.

        Does not wait any longer when one of the file descriptors in `others` can be read.
        """
        if others:
            self._subscriber.wait(timeout_ms, others)
            timeout_ms = 0
        for _ in range(MOST_AT_ONCE):
            try:
                heard = self._subscriber.hear(timeout_ms)
            except LineError as error:
                # The line must not end by it. Whoever subscribes gets it too.
                self.dropped += 1
                log.error("published what is no message: %s", error)
                continue
            if heard is None:
                return
            timeout_ms, self.has_heard = 0, True
            self._take(heard)

    def _take(self, heard: Heard) -> None:
        message = heard.message
        if isinstance(message, Verdict):
            place = (message.epoch, message.sequence)
            if place in self._seen:
                return
            self._seen[place] = None
            if len(self._seen) > 2 * ROWS:
                del self._seen[next(iter(self._seen))]
            self._metrics.observe(message)
        elif isinstance(message, Heartbeat):
            self.heartbeat = message
            self._metrics.heartbeat(message)
        self._hear(heard)
