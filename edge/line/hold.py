"""Holds a line, so that it rejects every part until it is released. A restart does not release it."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from ..errors import LineError
from ..memory.stages import Stages
from ..messages import utc

log = logging.getLogger(__name__)

#: person: only a person releases the line. challenge: a challenge test that passes releases it too.
Cause = Literal["person", "challenge"]


class Held(Struct, frozen=True, kw_only=True):
    """Why a line is held, by whom and since when (UTC)."""

    why: str
    by: str = ""
    since: str
    cause: Cause = "person"


class _Asked(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of the commands `hold` and `release`."""

    why: str = ""
    by: str = ""


class Hold:
    """The hold of a line. It is kept in the folder `state`, and shown to publish in shared memory.

    Raise LineError if the state folder cannot be read. A file in it that is damaged holds the line.
    """

    def __init__(self, state: Path, line: str, stages: Stages) -> None:
        self._path, self._stages = state / f"{line}.hold.json", stages
        self.held = self._read()
        self._lifted = False
        self._show()

    def set(self, why: str, by: str, cause: Cause) -> None:
        """Hold the line. A person's hold is not replaced by one of another cause.

        The line is held even if the hold cannot be written down; LineError then says so.
        """
        if self.held and self.held.cause == "person" and cause != "person":
            return
        self.held = Held(why=why, by=by, since=utc(time.time_ns()), cause=cause)
        self._lifted = False
        self._show()
        log.warning("the line is held: %s", why)
        try:
            beside = self._path.with_suffix(".new")
            beside.write_bytes(msgspec.json.encode(self.held))
            beside.replace(self._path)
        except OSError as error:
            raise LineError(
                f"the line is held, but {self._path} cannot be written: {error.strerror}: a restart releases it"
            ) from error

    def release(self) -> None:
        """Release the line. Raise LineError if that cannot be written down; the line then stays held."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise LineError(
                f"{self._path}: cannot be removed: {error.strerror}: the line stays held"
            ) from error
        self.held, self._lifted = None, False
        self._show()
        log.warning("the line is released")

    def lift(self, lifted: bool) -> None:
        """Let parts pass for a challenge test, although the line is held for lack of one; or hold it again."""
        self._lifted = lifted and self.held is not None and self.held.cause == "challenge"
        self._show()

    def asked_to_hold(self, keys: dict[str, Any]) -> dict[str, Any]:
        """Carry out the command `hold`, with `why` and `by`."""
        asked = msgspec.convert(keys, _Asked)
        # Who holds a held line once more, and says no reason, leaves the one that is there.
        before = self.held.why if self.held and self.held.cause == "person" else ""
        self.set(asked.why or before or "no reason was given", asked.by, "person")
        return {"hold": msgspec.to_builtins(self.held)}

    def asked_to_release(self, keys: dict[str, Any]) -> dict[str, Any]:
        """Carry out the command `release`. A line that is held for lack of a challenge test needs one first."""
        asked = msgspec.convert(keys, _Asked)
        if self.held is None:
            raise LineError("the line is not held")
        if self.held.cause == "challenge":
            raise LineError(f"the line is held: {self.held.why}")
        log.warning("released by %s: %s", asked.by or "somebody", asked.why)
        self.release()
        return {"hold": None}

    def _show(self) -> None:
        self._stages.hold = self.held.why if self.held and not self._lifted else ""

    def _read(self) -> Held | None:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Held)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LineError(f"{self._path}: cannot read whether the line is held: {error.strerror}") from error
        except msgspec.MsgspecError as error:
            return Held(why=f"{self._path} is damaged: {error}: release the line", since=utc(time.time_ns()))
