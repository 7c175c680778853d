"""`edge ctl` on real lines: what they answer, and what is said where no line can."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest
from lines import Subscriber, judged, line_name, running, stop, until

from edge.commands.ctl import _show
from edge.errors import LineError
from edge.line import ask, run_folder
from edge.line.control import Control
from edge.line.status import StageStatus, Status

STAGES = {"capture", "preprocess", "infer", "publish"}


def ctl(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge", "ctl", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_a_running_line_says_how_it_is(tmp_path: Path, endless: Callable[..., Path]) -> None:
    """Its state, parts, engine and processes, with restarts; also while a stage is away."""
    name = line_name(tmp_path)
    with Subscriber(tmp_path) as subscriber, running(endless()) as line:
        until(judged(subscriber, 5), "parts are judged", line)
        killed = line.kill("preprocess")
        until(lambda: line.pid("preprocess") != killed, "preprocess is back", line)
        done = ctl("--line", name, "status", "--json")
        told = json.loads(done.stdout)
        pids = {stage: line.pid(stage) for stage in STAGES}
        shown = ctl("--line", name, "status")
        stop(line)
    assert told["line"] == name
    assert told["pid"] == line.process.pid
    assert told["state"] == "judging"
    assert told["captured"] >= told["published"] >= 5
    assert told["engine"]["engine"] == "constant"
    assert {stage: told["stages"][stage]["pid"] for stage in STAGES} == pids
    assert {stage: told["stages"][stage]["restarts"] for stage in STAGES} == {
        "capture": 0, "preprocess": 1, "infer": 0, "publish": 0
    }  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    assert all(word in shown.stdout for word in (name, "judging", "constant", str(pids["capture"])))
    after = ctl("--line", name, "status")
    assert after.returncode == 1
    assert f"no line {name!r} of this user listens" in after.stderr
    assert "start the line with edge run RECIPE" in after.stderr


def test_without_a_line_it_says_where_it_looked(tmp_path: Path) -> None:
    """The folder of this user's lines."""
    done = ctl("--line", line_name(tmp_path), "status")
    assert done.returncode == 1
    assert f"/dev/shm/linejudge-{os.getuid()}/" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("state", "shown"), [("starting", "not started yet"), ("blind", "away")])
def test_a_process_that_does_not_run_is_told_from_one_that_has_still_to_start(
    capsys: pytest.CaptureFixture[str], state: str, shown: str
) -> None:
    """While the line starts, nothing is wrong."""
    stage = StageStatus(pid=None, ready=False, restarts=0, dropped=0)
    status = Status(
        line="pcb", pid=1, run="r", state=state, reason="", captured=0, published=0, recipe="", bundle="",
        engine=None, hold=None, challenge="", last_test=None, state_folder="", dropped=0,
        stages={"capture": stage},
    )  # fmt: skip
    _show(msgspec.to_builtins(status))
    row = next(row for row in capsys.readouterr().out.splitlines() if "capture " in row)
    assert shown in row


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Opens the control socket of a line in a shared memory of this test's own."""
    monkeypatch.setattr(run_folder, "SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(ask, "SHARED_MEMORY", tmp_path)
    with ExitStack() as opened:

        def start(line: str) -> None:
            folder = tmp_path / f"linejudge-{os.getuid()}" / line
            folder.mkdir(parents=True)
            opened.enter_context(Control(folder / "control.ipc", {}))

        yield start


def test_the_name_may_be_left_out_where_one_line_runs(shared: Callable[[str], None], tmp_path: Path) -> None:
    """Not where several do: the error names them. A socket that a killed line left is no line."""
    (tmp_path / f"linejudge-{os.getuid()}" / "dead").mkdir(parents=True)
    (tmp_path / f"linejudge-{os.getuid()}" / "dead" / "control.ipc").touch()
    shared("pcb")
    assert ask.only_line() == "pcb"
    shared("caps")
    with pytest.raises(LineError, match="several lines run: caps, pcb"):
        ask.only_line()


def test_lines_of_other_users_are_named(shared: Callable[[str], None], tmp_path: Path) -> None:
    """Whoever asks as the wrong user learns it. A folder that is no user's is left out."""
    (tmp_path / "linejudge-test-5").mkdir()
    (tmp_path / "linejudge-54321").mkdir()
    with pytest.raises(LineError, match=r"runs no line .* users with lines: 54321$"):
        ask.only_line()
