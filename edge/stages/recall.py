"""Finds the verdicts that a subscriber missed: in memory, and in the journal those that memory lacks."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from ..errors import JournalError
from ..journal.past import Past, past
from .kept import ANSWER_BYTES, Found, Kept

log = logging.getLogger(__name__)

#: After a failure to read the journal, how long it is left alone, so that a slow disk keeps nobody waiting.
RETRY_NS = 1_000_000_000


class Recall:
    """The verdicts of a line that can be had: those of `kept`, and those in the line's journal if it has one.

    Memory is always the newer one, and knows which runs have not ended. If the journal cannot be read, memory
    alone answers; this is logged once until the journal is read again.
    """

    def __init__(self, kept: Kept, journal: Path | None) -> None:
        self._kept, self._journal = kept, journal
        self._retry_ns, self._failed, self._told = 0, False, False

    def find(self, run: str, first: int, last: int | None, now_ns: int) -> Found | None:
        """Return the verdicts `first` to `last` of a run, or the first of them that make up an answer.

        If `last` is None, the range has no end. Return None if the run is unknown.
        """
        first = max(first, 1)
        found = self._kept.find(run, first, last)
        if found is None:
            written = self._past(run, first, last, now_ns)
            return self._of_earlier_run(written, first) if written else None
        if len(found.verdicts) >= found.upto - first + 1:
            return found
        begin, end = self._kept.missing(run, first, found.upto)
        if begin > first:
            return self._kept.find(run, first, begin - 1)
        written = self._past(run, begin, end, now_ns)
        if written is None:
            return found
        # What the journal does not have either is lost.
        upto = end if written.upto == written.newest else written.upto
        # If the run has ended there, the answer to the next question says so.
        return Found(upto=upto, verdicts=written.verdicts, ended=False, then="")

    def _of_earlier_run(self, written: Past, first: int) -> Found:
        is_end = written.upto == written.newest
        # The journal may not have the run that followed yet.
        found = Found(
            upto=written.upto,
            verdicts=written.verdicts,
            ended=is_end and written.closed,
            then=(written.then or self._kept.first_run) if is_end else "",
        )
        if written.closed or first <= written.newest:
            return found if found.ended else replace(found, then="")
        # The run went on, and its last verdicts were not written: nobody knows how many there were.
        return replace(found, upto=0, known=False)

    def _past(self, run: str, first: int, last: int | None, now_ns: int) -> Past | None:
        """Return what the journal has of a range. None: nothing of the run, or it cannot be read."""
        if self._journal is None or now_ns < self._retry_ns:
            return None
        try:
            found = past(self._journal, run, first, last, ANSWER_BYTES)
        except (JournalError, OSError, ValueError, TypeError) as error:
            # A damaged file may hold text where a number belongs.
            if not self._failed:
                log.warning("verdicts that memory has forgotten are not sent again: %s", error)
            self._failed, self._retry_ns = True, now_ns + RETRY_NS
            return None
        self._failed = False
        if found and found.altered and not self._told:
            log.warning("%s: altered rows are not sent again: run `edge journal verify`", self._journal)
            self._told = True
        return found
