"""Keeps when a line was tested with known parts, and holds it if a test is overdue or has failed."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from ..errors import LineError
from ..messages import utc
from ..recipe import Challenge
from .due import Clocks, LastTest, age_ns, clocks, kept_now, why_due
from .hold import Hold

log = logging.getLogger(__name__)

#: How often the age of the last test is compared with what is asked for, and written down.
CHECK_NS, KEEP_NS = 1_000_000_000, 60_000_000_000


How = Literal["belt", "folder"]


class _Testing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    how: How
    for_s: float


class _Tested(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    passed: bool
    how: How
    by: str
    report: str
    sha256: str  # of the report's file, for the journal


class Challenges:
    """The challenge tests of one line. `tick` checks once a second whether one is due.

    A test that passes on the belt renews the time until the next one. One with pictures from files does not,
    because camera and ejector are not in it. If a test of either kind fails, one on the belt is due.
    """

    def __init__(self, state: Path, line: str, asked: Challenge | None, hold: Hold) -> None:
        self._path, self._asked, self._hold = state / f"{line}.challenge.json", asked, hold
        self._every_ns = round(asked.every_h * 3.6e12) if asked else 0
        self.last = self._read()
        self._check_ns = self._keep_ns = self._testing_end_ns = 0
        #: Why a test is due, or that the last one failed; empty if all is well.
        self.fault = ""
        if asked:
            self._see(clocks())
        elif hold.held and hold.held.cause == "challenge":
            # The recipe does not ask for tests any more.
            hold.release()

    def tick(self, now_ns: int) -> None:
        """Hold the line if a test is overdue or has failed and the recipe says so."""
        if self._testing_end_ns and now_ns > self._testing_end_ns:
            log.warning("the challenge test was given up")
            self._end_test()
        if self._asked is None or now_ns < self._check_ns:
            return
        self._check_ns = now_ns + CHECK_NS
        self._see(clocks())
        if self.last and now_ns >= self._keep_ns:
            self._keep_ns = now_ns + KEEP_NS
            self._write()

    def _see(self, now: Clocks) -> None:
        fault = why_due(self.last, now, self._every_ns)
        if fault and not self.fault:
            log.error("%s", fault)
        self.fault = fault
        if fault and self._asked and self._asked.overdue == "hold" and self._hold.held is None:
            self._hold.set(f"{fault}: make one with edge ctl challenge", "", "challenge")

    @property
    def is_testing(self) -> bool:
        """Whether known parts run on the belt now."""
        return self._testing_end_ns > 0

    def testing(self, keys: dict[str, Any]) -> dict[str, Any]:
        """Carry out the command `testing`: a test goes on, and its next part comes within `for_s` seconds.

        A hold for lack of a test is lifted meanwhile, because good parts have to pass in the test.
        """
        asked = msgspec.convert(keys, _Testing)
        if not 0 < asked.for_s <= 3600:
            raise LineError(f"for_s: expected a number above 0, at most 3600, found {asked.for_s}")
        held = self._hold.held
        if asked.how == "belt" and held and held.cause == "person":
            raise LineError(f"the line is held: {held.why}: release it first, since good parts must pass")
        if asked.how == "belt":
            self._testing_end_ns = time.monotonic_ns() + round(asked.for_s * 1e9)
            self._hold.lift(True)
        return {"due_at": self.due_at}

    def tested(self, keys: dict[str, Any]) -> dict[str, Any]:
        """Carry out the command `tested`: the test has ended so."""
        test, now = msgspec.convert(keys, _Tested), clocks()
        log.warning("challenge test (%s) by %s %s", test.how, test.by, "passed" if test.passed else "FAILED")
        if test.how == "belt" or not test.passed:
            self.last = LastTest(
                at=utc(now.wall_ns), by=test.by, passed=test.passed, report=test.report, age_ns=0, kept=now
            )
        self._end_test()
        if self._asked:
            self._see(now)
        if not self.fault and self._hold.held and self._hold.held.cause == "challenge":
            self._hold.release()
        self._write()
        return {"due_at": self.due_at}

    @property
    def due_at(self) -> str:
        """When the next test is due by the wall clock, UTC. Empty if it is overdue, or if none is asked for."""
        if self._asked is None or self.last is None or self.fault:
            return ""
        now = clocks()
        return utc(now.wall_ns + self._every_ns - (age_ns(self.last, now) or 0))

    def _end_test(self) -> None:
        self._testing_end_ns = 0
        self._hold.lift(False)

    def _read(self) -> LastTest | None:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=LastTest)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            log.error("%s: the last challenge test is unknown: %s", self._path, error)
            return None

    def _write(self) -> None:
        """Write down the last test and its age. If that fails, the next start still adds what has passed."""
        if self.last is None:
            return
        if self._asked:
            self.last = kept_now(self.last, clocks(), self._every_ns)
        beside = self._path.with_suffix(".new")
        try:
            beside.write_bytes(msgspec.json.encode(self.last))
            beside.replace(self._path)
        except OSError as error:
            log.error("%s: cannot be written: %s", self._path, error.strerror)
