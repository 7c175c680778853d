"""Keeps the supervisor's notices about active alarms, so that subscribers that come later hear of them too."""

from __future__ import annotations

from ..messages import Notice


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
