"""Tells the supervisor by a small file in the run's folder whether the journal can be written."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from msgspec import Struct

FILE = "journal.json"


class Condition(Struct, frozen=True, kw_only=True):
    """How the journal of a run fares. The journal's process writes this as `journal.json` when it changes."""

    error: str = ""  # why it cannot be written now; empty: it can
    missing: int = 0  # verdicts of the run, and of killed runs before it, that became gaps
    aside: str = ""  # file that was damaged and put aside in this run
    closed: bool = False  # each verdict of the run was written, and the process has ended


def tell(folder: Path, condition: Condition) -> None:
    """Write the condition into the folder of a run, at once for whoever reads it."""
    new = folder / f"{FILE}.new"
    new.write_bytes(msgspec.json.encode(condition))
    os.replace(new, folder / FILE)


def is_behind(folder: Path) -> bool:
    """Return whether the run in `folder` has a journal that may lack verdicts of it."""
    return (folder / FILE).exists() and not condition_in(folder).closed


def condition_in(folder: Path) -> Condition:
    """Return the condition that was told last in the folder of a run; that of a good journal if none was."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=Condition)
    except (OSError, msgspec.MsgspecError):
        return Condition()
