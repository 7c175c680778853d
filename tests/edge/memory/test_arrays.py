"""Shared memory that describes itself, is claimed when it is made, and appears whole."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge.errors import LineError
from edge.memory.arrays import PAGE, SharedArrays

OPEN = "import sys; from pathlib import Path; from edge.memory.arrays import SharedArrays; "
ROW = np.dtype([("a", "<i8"), ("name", "S8")])


def test_another_process_sees_what_one_writes(tmp_path: Path) -> None:
    """What a stage writes, another one reads, names and types included."""
    arrays = SharedArrays.create(tmp_path / "memory", {"rows": (ROW, (3,)), "pixels": (np.uint8, (2, 5000))})
    arrays["rows"][1] = (7, b"seven")
    arrays["pixels"][1, 4999] = 9
    reader = (
        OPEN + "a = SharedArrays.open(Path(sys.argv[1]));"
        "print(a['rows'][1]['a'], a['rows'][1]['name'], a['pixels'][1, 4999]); a['rows']['a'][2] = 11"
    )
    told = subprocess.run(
        [sys.executable, "-c", reader, tmp_path / "memory"], capture_output=True, text=True, check=True
    )
    assert told.stdout.split() == ["7", "b'seven'", "9"]
    assert arrays["rows"]["a"][2] == 11


def test_large_arrays_begin_at_a_page(tmp_path: Path) -> None:
    """Pixels lie on page boundaries, so that a driver can pin them."""
    arrays = SharedArrays.create(
        tmp_path / "memory", {"a": (np.int64, (3,)), "pixels": (np.uint8, (2 * PAGE,))}
    )
    assert arrays["pixels"].ctypes.data % PAGE == 0


def test_the_exit_of_a_reader_leaves_the_memory(tmp_path: Path) -> None:
    """A process that mapped the memory and ends takes nothing away from the others."""
    arrays = SharedArrays.create(tmp_path / "memory", {"a": (np.int64, (3,))})
    reader = OPEN + "SharedArrays.open(Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", reader, tmp_path / "memory"], check=True)
    arrays["a"][0] = 5
    assert SharedArrays.open(tmp_path / "memory")["a"][0] == 5


@pytest.mark.parametrize("content", [b"", b"something else" * 500, b"linejdg1" + b"\xff" * 5000])
def test_a_file_that_is_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    """A stale or foreign file is an error that names it, not an array of nonsense."""
    (tmp_path / "memory").write_bytes(content)
    with pytest.raises(LineError, match="memory"):
        SharedArrays.open(tmp_path / "memory")


def test_memory_is_never_made_over_another(tmp_path: Path) -> None:
    """A file that is there already is not taken over."""
    SharedArrays.create(tmp_path / "memory", {"a": (np.int64, (3,))})
    with pytest.raises(LineError, match="exists"):
        SharedArrays.create(tmp_path / "memory", {"a": (np.int64, (3,))})


def test_too_little_memory_is_said_at_the_start(tmp_path: Path) -> None:
    """More than there is of shared memory is an error when the line starts, and leaves nothing behind."""
    path = Path("/dev/shm") / f"linejudge-test-{tmp_path.name}"
    with pytest.raises(LineError, match=r"timing\.slots"):
        SharedArrays.create(path, {"a": (np.uint8, (2**50,))})
    assert not path.exists()


class Looking:
    """What an array begins with: it notes whether the file has its name yet, at the moment it is written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.found: list[bool] = []

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        self.found.append(self._path.exists())
        return np.arange(3)


def test_memory_appears_with_all_its_values(tmp_path: Path) -> None:
    """Whoever finds the file finds what its arrays begin with, and nothing else lies beside it."""
    path = tmp_path / "memory"
    looking = Looking(path)
    SharedArrays.create(path, {"a": (np.int64, (3,)), "b": (np.int64, (2,))}, {"a": looking})
    assert looking.found == [False]
    opened = SharedArrays.open(path)
    assert (opened["a"].tolist(), opened["b"].tolist()) == ([0, 1, 2], [0, 0])
    assert list(tmp_path.iterdir()) == [path]


KILLED = """
import os, sys
from pathlib import Path
from edge.memory.arrays import SharedArrays
class Killed:
    def __array__(self, dtype=None, copy=None):
        os.kill(os.getpid(), 9)
SharedArrays.create(Path(sys.argv[1]), {"a": ("<i8", (3,))}, {"a": Killed()})
"""


def test_a_process_killed_meanwhile_leaves_no_half_of_it(tmp_path: Path) -> None:
    """Its successor finds no file, and makes it."""
    path = tmp_path / "memory"
    done = subprocess.run([sys.executable, "-c", KILLED, path])
    assert done.returncode == -signal.SIGKILL
    assert not path.exists()
    SharedArrays.create(path, {"a": (np.int64, (3,))}, {"a": 7})
    assert SharedArrays.open(path)["a"].tolist() == [7, 7, 7]
