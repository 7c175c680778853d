"""Lets a journal get the last verdicts of a line, if the journal's process ended before it had written them."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from ..errors import LineError
from ..journal.condition import condition_in, is_behind
from .child import Child

log = logging.getLogger(__name__)

_LOOK_S = 0.02


def finish_journal(journal: Child, folder: Path, patience_s: float) -> None:
    """Have another process write what is missing in the journal of the run in `folder`, and stop it.

    It gets `patience_s` seconds to start, and as long to stop. A journal that cannot be written stays as it is.
    """
    if not is_behind(folder) or condition_in(folder).error:
        return
    try:
        journal.restart()
    except (OSError, LineError) as error:
        log.error("journal: cannot be started: %s", error)
        return
    end_s = time.monotonic() + patience_s
    while not journal.ready and journal.exit_code is None and time.monotonic() < end_s:
        time.sleep(_LOOK_S)
    journal.terminate()
    journal.wait(patience_s)
