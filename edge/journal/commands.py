"""Hands the commands that people gave a line from its supervisor to the journal, by a file in the run's folder.

A command stays in the file, so it is written even if the journal could not be written when it was given.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

FILE = "commands.jsonl"


class Given(Struct, frozen=True, kw_only=True):
    """A command that the line carried out. The journal's `body` is this without `at`."""

    at: str  # UTC, ISO 8601
    line: str
    command: str
    keys: dict[str, Any]  # its arguments


def note(folder: Path, given: Given) -> None:
    """Note a command in the folder of a run. Raise OSError if there is no memory for it."""
    with open(folder / FILE, "ab") as file:
        file.write(msgspec.json.encode(given) + b"\n")


def noted(folder: Path) -> list[Given]:
    """Return the commands that were noted in the folder of a run, in their order."""
    try:
        lines = (folder / FILE).read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    # The last line may be about to be written.
    return [msgspec.json.decode(line, type=Given) for line in lines if line.endswith(b"\n")]
