"""Finds the faults that processes of a line report, each with the text of its alarm; no text is no fault."""

from __future__ import annotations

from pathlib import Path

from ..errors import LineError
from ..journal.condition import condition_in
from ..memory.confirmed import CONFIRMED, Confirmed
from ..memory.recorded import Recorded
from ..recipe import Recipe


class Faults:
    """The faults of the journal, the recorder and the subscribers of the run in `folder`."""

    def __init__(self, recipe: Recipe, folder: Path, recorded: Recorded | None) -> None:
        self._recipe, self._folder, self._recorded = recipe, folder, recorded
        self._confirmed: Confirmed | None = None

    def at(self, now_ns: int) -> dict[str, str]:
        """Return the faults at `now_ns` by the names of their alarms, of what the recipe asks for."""
        found = {}
        if self._recipe.journal:
            found["journal"] = self._journal()
        if self._recipe.recorder and self._recorded:
            full = f"the recorder cannot write pictures into {self._recipe.recorder.folder}: make room there"
            found["recorder"] = full if self._recorded["is_full"] else ""
        if self._recipe.publish.confirm:
            found["subscriber"] = self._subscriber(now_ns)
        return found

    def _journal(self) -> str:
        condition = condition_in(self._folder)
        aside = f"it was damaged, and was put aside as {condition.aside}" if condition.aside else ""
        return condition.error or aside

    def _subscriber(self, now_ns: int) -> str:
        if self._confirmed is None:
            try:
                self._confirmed = Confirmed.open(self._folder / CONFIRMED)
            except LineError:
                return ""  # the process that makes the file has not started yet
        return late_subscribers(self._confirmed, self._recipe.publish.confirm_ms, now_ns)


def late_subscribers(confirmed: Confirmed, confirm_ms: int, now_ns: int) -> str:
    """Return which subscribers have not confirmed a verdict within `confirm_ms`; empty if all have."""
    late = []
    for name in confirmed:
        last = confirmed[name]
        waited_ms = (now_ns - last.due_ns) / 1e6
        if last.due_ns and waited_ms > confirm_ms:
            late.append(f"{name} has not confirmed verdict {last.number + 1}")
    return f"{', '.join(late)}: within {confirm_ms} ms it should; is the program running?" if late else ""
