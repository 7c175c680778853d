"""The file of the alarms outlives the line, and a disk that fails costs no verdict."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from parts import ALARM

from edge.alarms.alarms import Memory
from edge.line.alarm_file import AlarmFile
from edge.line.durable import replace_durably

MEMORY = Memory(of="bundle", alarms=[ALARM])


def test_what_is_kept_is_read_by_the_next_line(tmp_path: Path) -> None:
    """The last memory counts, also if the line ends at once."""
    with AlarmFile(tmp_path, "pcb") as file:
        assert file.read() is None
        for number in range(20):
            file.keep(Memory(of=str(number)))
        file.keep(MEMORY)
    assert AlarmFile(tmp_path, "pcb").read() == MEMORY
    assert [path.name for path in tmp_path.iterdir()] == ["pcb.alarms"]


def test_keeping_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    """A disk that hangs holds up neither verdicts nor restarts of stages; then the newest memory is written."""
    hangs = tmp_path / "pcb.alarms.new"
    os.mkfifo(hangs)
    with AlarmFile(tmp_path, "pcb") as file:
        file.keep(Memory(of="x" * 200_000))  # more than a pipe holds, so writing it waits for a reader
        reader = os.open(hangs, os.O_RDONLY)
        for number in range(100):
            file.keep(Memory(of=str(number)))
        file.keep(MEMORY)
        hangs.unlink()
        os.close(reader)
    assert AlarmFile(tmp_path, "pcb").read() == MEMORY


@pytest.mark.parametrize("content", [b"", b"{", b'{"alarms": 1}', b"\xff\xfe"])
def test_a_damaged_file_is_said_and_kept_aside(tmp_path: Path, content: bytes) -> None:
    """The line starts, an alarm tells of the lost ones, and a person can look at the file."""
    (tmp_path / "pcb.alarms").write_bytes(content)
    file = AlarmFile(tmp_path, "pcb")
    assert file.read() is None
    assert f"{tmp_path}/pcb.alarms: the alarms before the restart cannot be read" in file.problem
    assert (tmp_path / "pcb.alarms.bad").read_bytes() == content
    assert AlarmFile(tmp_path, "pcb").read() is None


def test_a_disk_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """And so is its end."""
    folder = tmp_path / "state"
    with AlarmFile(folder, "pcb") as file:
        file.keep(MEMORY)
    assert "cannot be kept over a restart: No such file or directory" in file.problem
    folder.mkdir()
    with AlarmFile(folder, "pcb") as file:
        file.keep(MEMORY)
    assert file.problem == ""
    assert AlarmFile(folder, "pcb").read() == MEMORY


def test_the_old_content_stays_if_the_new_cannot_be_written(tmp_path: Path) -> None:
    """A full disk loses no alarm that was kept."""
    path = tmp_path / "file"
    replace_durably(path, b"old")
    (tmp_path / "file.new").mkdir()  # in the place of the new file
    with pytest.raises(OSError, match="Is a directory"):
        replace_durably(path, b"new")
    assert path.read_bytes() == b"old"
