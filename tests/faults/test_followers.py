"""A line's journal, recorder and replay are broken: no verdict waits for them, and none is lost."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from journals import rows_in
from lines import line_name
from watched import Watched, kill, stopped

from edge.journal.store import journal_path

SEED = 7
FOLLOWERS = ("journal", "recorder", "replay")
PAGE = 4096


@pytest.fixture(scope="module")
def line(watch: Callable[..., Watched], tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """A line with all of them."""
    pictures = tmp_path_factory.mktemp("pictures")
    more = f'[journal]\n[recorder]\nfolder = "{pictures}"\nreserve_mb = 0\n'
    return watch(f"[timing]\ndeadline_ms = 500\n{more}", publish='replay = "ipc://{folder}/replay.ipc"')


@pytest.mark.parametrize("name", FOLLOWERS)
def test_a_follower_that_dies_or_stands_still_costs_no_verdict(accounted: Watched, name: str) -> None:
    """It is started again."""
    rng = random.Random(f"{SEED} {name}")
    time.sleep(rng.uniform(0, 0.2))
    first = accounted.processes()[name]
    kill(first)
    accounted.until(lambda: accounted.processes().get(name, first) != first, f"{name} is started again")
    accounted.await_well()
    with stopped(accounted.processes()[name]):
        seen = len(accounted.ear.verdicts)
        accounted.until(lambda: len(accounted.ear.verdicts) > seen + 20, "verdicts go on")


def journal_of(line: Watched) -> Path:
    recipe = line.log.parent
    return journal_path(recipe / "state" / "linejudge" / "journal", line_name(recipe))


def test_a_corrupted_page_of_the_journal_costs_no_verdict(accounted: Watched) -> None:
    """The damaged file is put aside, and a new one goes on with the verdicts."""
    path = journal_of(accounted)
    accounted.until(lambda: path.stat().st_size > 4 * PAGE, "the journal has pages")
    pid = accounted.processes()["journal"]
    with stopped(pid):
        with path.open("r+b") as file:
            file.write(os.urandom(3 * PAGE))
        os.truncate(f"{path}-wal", 0)  # else SQLite would take the same pages from there
        kill(pid)
    accounted.until(lambda: list(path.parent.glob("*.damaged-*.sqlite")), "the file is put aside")
    seen = accounted.ear.verdicts[-1].body["number"]
    accounted.until(lambda: any(row.number > seen for row in rows_in(path)), "verdicts are written")
