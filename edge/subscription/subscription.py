"""Hears a line over sockets: gives each verdict once and in order, and tells of losses and of silence."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import msgspec
import zmq

from ..errors import LineError
from ..keys import ClientKeys
from ..messages import Heartbeat, Verdict
from ..subscriber import Heard, Subscriber
from .asker import Answered, Asker
from .asking import Asking
from .events import Missed, Silent
from .order import Order, Place
from .protocol import ConfirmedLast
from .silence import Silence

#: What a line publishes for subscribers. All of it is heard, whatever topics a subscriber wants: only so a
#: verdict of another topic is no gap.
TOPICS = ("accept.", "reject.", "heartbeat.", "alarm.")
#: The longest wait for a message, while there may be a question to ask or silence to tell.
STEP_MS = 20

Event = Heard | Missed | Silent


class Subscription:
    """A subscription to a line, which `with` ends. `edge.subscribe` describes the arguments."""

    def __init__(
        self,
        endpoint: str,
        topics: Sequence[str] = (),
        *,
        replay: str = "",
        after: Place | None = None,
        confirm: str = "",
        keys: ClientKeys | None = None,
        silence_ms: int = 3000,
        patience_ms: int = 1000,
    ) -> None:
        if confirm and not replay:
            raise LineError(
                "confirm: verdicts are confirmed to the replay endpoint of the line: give `replay` too"
            )
        self._endpoint, self._topics = endpoint, tuple(topic.encode() for topic in topics)
        self._subscriber = Subscriber(endpoint, TOPICS, keys=keys)
        try:
            self._asker = Asker(self._subscriber.context, replay, keys) if replay else None
        except LineError:
            self._subscriber.__exit__()
            raise
        self._poller = zmq.Poller()
        self._poller.register(self._subscriber.socket, zmq.POLLIN)
        if self._asker:
            self._poller.register(self._asker.socket, zmq.POLLIN)
        self._patience_ns = patience_ms * 1_000_000
        self._name = confirm
        self._order = Order[Heard](after)
        self._asking = Asking(self._patience_ns)
        self._silence = Silence(silence_ms * 1_000_000)
        self._events: deque[tuple[Place | None, Event]] = deque()
        self._line = ""
        self._handled, self._confirmed = Place(), Place()
        self._resumes = bool(confirm and after is None)

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *error: object) -> None:
        self._subscriber.__exit__(*error)

    @property
    def place(self) -> Place:
        """The place of the event that was returned last. `after` can begin there another time."""
        return self._handled

    def hear(self, timeout_ms: int) -> Event | None:
        """Return the next event, or None if there is none within `timeout_ms`.

        The event before it counts as handled, and it is confirmed if the subscription confirms.

        Raise LineError if something else than a line of this version is at an endpoint.
        """
        self._confirm()
        if self._resumes:
            self._resume()
        end_ns = time.monotonic_ns() + timeout_ms * 1_000_000
        while not self._events:
            left_ns = end_ns - time.monotonic_ns()
            self._step(max(0, min(STEP_MS, left_ns // 1_000_000)))
            self._ask()
            self._gather()
            if left_ns <= 0 and not self._events:
                self._confirm()
                return None
        place, event = self._events.popleft()
        self._handled = place or self._handled
        return event

    def _step(self, timeout_ms: int) -> None:
        """Take what has come on both sockets. If nothing has, wait, and count the time as silence."""
        began_ns = time.monotonic_ns()
        if self._order.is_full:
            # What the line sends meanwhile waits in the sockets, so it is no silence.
            if self._asker:
                self._asker.socket.poll(timeout_ms)
            else:
                time.sleep(timeout_ms / 1000)
            self._take_answers()
            return
        self._poller.poll(timeout_ms)
        self._take_answers()
        if (message := self._subscriber.hear(0)) is not None:
            self._take(message)
        else:
            self._silence.waited(time.monotonic_ns() - began_ns)
            if (silent_ns := self._silence.due()) is not None:
                self._events.append((None, Silent(silent_ms=silent_ns // 1_000_000)))
                self._subscriber.reconnect()
                if self._asker:
                    self._asker.reconnect()

    def _take(self, heard: Heard) -> None:
        message = heard.message
        if self._line not in ("", message.line):
            raise LineError(
                f"{self._endpoint}: both {self._line!r} and {message.line!r} publish there: subscribe to an "
                "endpoint of one line"
            )
        self._line = message.line
        if isinstance(message, Verdict):
            self._order.verdict(message.run, message.number, heard)
        elif isinstance(message, Heartbeat):
            self._silence.heartbeat()
            self._confirmed = Place()  # a confirmation may be lost, so it is sent again
            self._order.heartbeat(message.run, message.number, heard)
        else:
            self._events.append((None, heard))

    def _take_answers(self) -> None:
        for answered in self._asker.answers() if self._asker else ():
            self._asking.answered(time.monotonic_ns())
            self._take_answer(answered)

    def _take_answer(self, answered: Answered) -> None:
        head = answered.head
        if isinstance(head, ConfirmedLast):
            return
        for heard in answered.verdicts:
            verdict = heard.message
            assert isinstance(verdict, Verdict)
            # It was published before. A subscriber that acts in time ignores it, as whatever is sent again.
            again = replace(heard, message=msgspec.structs.replace(verdict, resent=True))
            self._order.verdict(verdict.run, verdict.number, again)
        if head.known:
            self._order.answered(head.run, head.upto, ended=head.ended, then=head.then)
        elif self._order.wanted and self._order.wanted.run == head.run:
            self._order.give_up(head.then)

    def _ask(self) -> None:
        """Ask for what is missing when it is time, or report it as lost if it does not come."""
        wanted = self._order.wanted
        step = self._asking.step(wanted, time.monotonic_ns())
        if step == "give up":
            self._order.give_up()
        elif step == "ask" and self._asker and wanted:
            self._asker.ask(wanted)

    def _gather(self) -> None:
        """Make events of what can be given now. The place also moves over verdicts of other topics."""
        for place, item in self._order.take():
            if isinstance(item, Missed) or not self._topics or item.topic.startswith(self._topics):
                self._events.append((place, item))
            elif self._events:
                self._events[-1] = (place, self._events[-1][1])
            else:
                self._handled = place

    def _confirm(self) -> None:
        """Confirm what was handled, if the subscription confirms and if this is not confirmed yet."""
        if self._asker and self._name and self._handled.run and self._handled != self._confirmed:
            self._confirmed = self._handled
            self._asker.confirm(self._name, self._handled)

    def _resume(self) -> None:
        """Begin after the verdict that was confirmed last. If nobody knows one, begin with the next message."""
        self._resumes = False
        assert self._asker is not None
        end_ns = time.monotonic_ns() + self._patience_ns
        while time.monotonic_ns() < end_ns:
            self._asker.ask_place(self._name)
            if not self._asker.socket.poll(STEP_MS):
                continue
            for answered in self._asker.answers():
                head = answered.head
                if isinstance(head, ConfirmedLast):
                    if not head.known:
                        raise LineError(
                            f"confirm: {self._name!r} does not confirm to this line, or its key has another "
                            "name: add it to [publish] confirm in the recipe"
                        )
                    if head.run:
                        self._order = Order[Heard](Place(run=head.run, number=head.number))
                    return
