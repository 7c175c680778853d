"""Notes each command that changes a line for its journal, with who gave it if the command says so."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..journal.commands import Given, note
from ..messages import utc
from .control import Command

log = logging.getLogger(__name__)

#: Commands that only ask.
QUESTIONS = {"status", "alarms"}


def noting(commands: Mapping[str, Command], line: str, folder: Path) -> dict[str, Command]:
    """Return the commands of a line, each of which is noted in the folder of the run when it is carried out."""
    return {
        name: command if name in QUESTIONS else _noting(name, command, line, folder)
        for name, command in commands.items()
    }


def _noting(name: str, command: Command, line: str, folder: Path) -> Command:
    def carry_out(keys: dict[str, Any]) -> Mapping[str, Any]:
        answer = command(keys)
        try:
            note(folder, Given(at=utc(time.time_ns()), line=line, command=name, keys=keys))
        except OSError as error:
            log.error("command %s: not written into the journal: %s", name, error)
        return answer

    return carry_out
