"""The rows of a line's processes, which the supervisor and the processes themselves write."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.errors import LineError
from edge.memory.confirmed import Confirmed
from edge.memory.ledger import Ledger
from edge.memory.stages import Stages

NAMES = ["capture.top", "capture.side", "infer", "publish"]


def test_what_one_process_writes_the_others_read(tmp_path: Path) -> None:
    """Each process has a row of its own, and all know the same run."""
    made = Stages.create(tmp_path / "stages", NAMES)
    for place, name in enumerate(NAMES):
        made[name]["pid"] = 100 + place
    read = Stages.open(tmp_path / "stages")
    assert list(read) == NAMES
    assert [int(read[name]["pid"][0]) for name in NAMES] == [100, 101, 102, 103]
    assert read.run == made.run
    assert read.run != Stages.create(tmp_path / "others", NAMES).run


def test_another_file_is_refused(tmp_path: Path) -> None:
    """A ledger is not taken for the rows of processes."""
    Ledger.create(tmp_path / "ledger")
    with pytest.raises(LineError, match="another version"):
        Stages.open(tmp_path / "ledger")


@pytest.fixture
def many_switches() -> Iterator[None]:
    """Threads take turns as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("many_switches")
@pytest.mark.parametrize("kind", [Stages, Confirmed])
def test_rows_have_their_names_when_they_are_found(
    tmp_path: Path, kind: type[Stages] | type[Confirmed]
) -> None:
    """Who opens them while they are made finds nothing, or every row under its name."""
    paths = [tmp_path / str(number) for number in range(200)]
    found: list[list[str]] = []
    reader = threading.Thread(target=lambda: found.extend(opened(path, kind.open) for path in paths))
    reader.start()
    for path in paths:
        kind.create(path, NAMES)
    reader.join()
    assert found == [NAMES] * len(paths)


def opened(path: Path, open_: Callable[[Path], Stages | Confirmed]) -> list[str]:
    """The names in a file, as soon as there is one."""
    while not path.exists():
        time.sleep(0)
    return list(open_(path))
