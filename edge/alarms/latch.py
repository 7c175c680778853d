"""Keeps one alarm raised until a person acknowledges it, and clears it when its condition has ended too."""

from __future__ import annotations

from ..messages import Alarm, AlarmState, Cause


class Latch:
    """The state of one alarm. `is_new` is true while its last change has not been taken."""

    def __init__(self, line: str, name: str, before: Alarm | None = None) -> None:
        """`before` is its state before a restart of the line."""
        self._line, self._name = line, name
        self.state: AlarmState = before.state if before else "cleared"
        self._cause: Cause = before.cause if before else "unclear"
        self._text, self._by = (before.text, before.by) if before else ("", "")
        self._raised_at = before.raised_at if before else ""
        self._changed_at = before.changed_at if before else ""
        # Whether the condition holds; None: not known since the restart.
        self._holds: bool | None = None
        self.is_new = False

    @property
    def is_active(self) -> bool:
        """Whether the alarm is raised or acknowledged."""
        return self.state != "cleared"

    @property
    def is_told(self) -> bool:
        """Whether the alarm is active, and what it points to is known."""
        return self.is_active and self._cause != "unclear"

    def see(self, holds: bool | None, cause: Cause, text: str) -> None:
        """Note whether the alarm's condition holds now, or None if that is not known, and what was found."""
        if holds is None:
            return
        self._holds = holds
        if holds and self.state == "cleared":
            self._change("raised")
            self._cause, self._text, self._by, self._raised_at = cause, text, "", ""
        elif holds and self._cause == "unclear" != cause:
            # There is more evidence now.
            self._cause, self._text, self.is_new = cause, text, True
        elif not holds and self.state == "acknowledged":
            self._change("cleared")

    def acknowledge(self, by: str) -> None:
        """Acknowledge the alarm for the person `by`. It is cleared if its condition does not hold any more."""
        self._change("acknowledged" if self._holds or self._holds is None else "cleared")
        self._by = by

    def alarm(self) -> Alarm:
        """Return the alarm's state as a message."""
        return Alarm(
            line=self._line,
            alarm=self._name,
            state=self.state,
            cause=self._cause,
            text=self._text,
            raised_at=self._raised_at,
            changed_at=self._changed_at,
            by=self._by,
        )

    def take(self, at: str) -> Alarm:
        """Return the alarm's state, which has changed at the time `at` (UTC, ISO 8601)."""
        self._raised_at, self._changed_at, self.is_new = self._raised_at or at, at, False
        return self.alarm()

    def _change(self, state: AlarmState) -> None:
        self.state, self.is_new = state, True
