"""An engine that ended a process is left out by the next one, and by no process of a later run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge.engines.trials import BESIDE, CRASHED, RETRY, Trials
from edge.errors import EngineError, EngineLost


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trials.json"


def failures(path: Path) -> dict[str, str | None]:
    """What the next process knows."""
    trials = Trials(path)
    return {kind: trials.failure(kind) for kind in ("tensorrt", "tensorrt_rtx", "openvino")}


NONE = dict.fromkeys(("tensorrt", "tensorrt_rtx", "openvino"))


def fail(trials: Trials, error: BaseException, *, ready: bool = False) -> None:
    """Try TensorRT, be ready for parts if so told, and then fail."""
    with trials:
        trials.begin("tensorrt")
        if ready:
            trials.end()
        raise error


def test_an_engine_that_killed_its_process_is_known_to_the_next(path: Path) -> None:
    """However it was killed: nothing has to run at its end. The driver may be at fault, so no engine of the GPU
    is tried again; engines on the CPU are."""
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from edge.engines.trials import Trials\n"
        "with Trials(Path(sys.argv[1])) as trials:\n"
        "    for kind in ('openvino', 'tensorrt'):\n"
        "        trials.begin(kind)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, path], env=os.environ).returncode == -9
    beside = f"{BESIDE}: {RETRY}"
    assert failures(path) == {"tensorrt": f"{CRASHED}: {RETRY}", "tensorrt_rtx": beside, "openvino": None}


def test_an_engine_that_works_is_forgotten(path: Path) -> None:
    """Neither a failure after infer was ready nor an order to stop is a reason to leave the engine out."""
    with pytest.raises(KeyError):
        fail(Trials(path), KeyError(), ready=True)
    assert failures(path) == NONE
    with pytest.raises(SystemExit):
        fail(Trials(path), SystemExit())
    assert failures(path) == NONE


@pytest.mark.parametrize("error", [EngineLost("gone"), EngineError("gone"), TypeError("gone")])
def test_an_error_on_the_way_is_the_reason(path: Path, error: Exception) -> None:
    """Whatever it was, a new process can go on, so the error is EngineLost with the same text."""
    with pytest.raises(EngineLost, match="gone"):
        fail(Trials(path), error)
    assert failures(path) == {**NONE, "tensorrt": f"gone: {RETRY}"}


def test_an_error_while_no_engine_is_tried_stays_what_it_is(path: Path) -> None:
    """It would come again in the next process."""
    with pytest.raises(EngineError) as raised, Trials(path):
        raise EngineError("the bundle is damaged")
    assert type(raised.value) is EngineError
    assert failures(path) == NONE


def test_of_two_judges_one_may_drop_an_engine_that_the_other_tries(path: Path) -> None:
    """A failure that was handled for one bundle does not hide that the other still tries the engine."""
    trials = Trials(path)
    trials.begin("tensorrt")
    trials.begin("tensorrt")
    trials.drop("tensorrt")
    assert failures(path)["tensorrt"] is not None
    trials.drop("tensorrt")
    assert failures(path) == NONE


def test_failures_add_up_over_the_processes_of_a_run(path: Path) -> None:
    """The CPU is reached even if each of a GPU's engines ends a process with an error."""
    with pytest.raises(EngineLost):
        fail(Trials(path), EngineLost("gone"))
    trials = Trials(path)
    assert trials.failure("tensorrt_rtx") is None
    trials.begin("tensorrt_rtx")
    assert set(json.loads(path.read_text())) == {"tensorrt", "tensorrt_rtx"}
    trials.end()
    assert set(json.loads(path.read_text())) == {"tensorrt"}


def test_without_a_file_nothing_is_remembered(tmp_path: Path) -> None:
    """`edge check` tries every engine, and its errors stay what they are."""
    with pytest.raises(EngineError, match="short of memory") as raised:
        fail(Trials(), EngineError("short of memory"))
    assert type(raised.value) is EngineError
    assert list(tmp_path.iterdir()) == []
