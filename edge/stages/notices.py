"""Keeps the supervisor's notices about active alarms, so that subscribers that come later hear of them too."""

from __future__ import annotations

from ..errors import WireError
from ..messages import Notice
from ..wire import alarm_from, alarm_topic

#: Number of active alarms at most, and the longest name of one. Heartbeats name them all.
MOST_ALARMS, NAME_LETTERS = 100, 64


class Notices:
    """The alarms that are active, and what was published about each last."""

    def __init__(self) -> None:
        #: Names of the active alarms, which heartbeats tell.
        self.alarms: tuple[str, ...] = ()
        self._last: dict[str, Notice] = {}

    def take(self, notice: Notice) -> bool:
        """Keep a notice, and return whether there is something to send."""
        if notice.alarms is not None:
            self.alarms = notice.alarms
        if notice.alarm:
            self._last[notice.alarm] = notice
        self._last = {name: last for name, last in self._last.items() if name in self.alarms}
        return bool(notice.body)

    def again(self) -> list[Notice]:
        """Return what a new subscriber has to hear: the last notice about each active alarm."""
        return list(self._last.values())


def is_notice(notice: Notice, line: str) -> bool:
    """Return whether a notice is about alarms of this line, so that subscribers can read it as it is."""
    names = (*(notice.alarms or ()), notice.alarm)
    if notice.topic != alarm_topic(line) or len(names) > MOST_ALARMS or max(map(len, names)) > NAME_LETTERS:
        return False
    try:
        return not notice.body or alarm_from(notice.body).line == line
    except WireError:
        return False
