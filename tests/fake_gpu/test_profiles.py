"""An engine with two profiles runs one part alone by the kernels that were chosen for one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from bundles import write_anomaly
from fake_gpu.machine import Machine
from fake_gpu.plans import write_engines

import edge

RUNS = Path(__file__).with_name("profile_runs.py")
CHOSEN = "return 0 if count == 1 and self._alone else"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle whose engine has a profile for one part, and one for one to four."""
    return write_engines(write_anomaly(tmp_path / "bundle"), batch=4, profiles=[[1, 1], [1, 4]])


def test_one_part_alone_is_run_by_the_kernels_for_one(bench: Machine, bundle: Path) -> None:
    """Two or more are by those for a batch, every part gets its own result, and both can be timed for one."""
    assert bench.ask(RUNS, str(bundle)) == {
        "TensorRT": {"runs": [[0, 1], [1, 2], [1, 4]], "wrong": 0},
        "TunedForBatches": {"runs": [[1, 1], [1, 2], [1, 4]], "wrong": 0},
    }


@pytest.mark.parametrize("profile", ["0 if True else", "0 if False else"], ids=["the first", "the last"])
def test_one_profile_for_all_shows(bench: Machine, bundle: Path, tmp_path: Path, profile: str) -> None:
    """This proves the test: a copy of `edge` that always takes the same profile fails it."""
    copy = tmp_path / "edge"
    shutil.copytree(Path(edge.__file__).parent, copy, ignore=shutil.ignore_patterns("demo", "__pycache__"))
    source = (copy / "engines/plan.py").read_text()
    assert source.count(CHOSEN) == 1
    (copy / "engines/plan.py").write_text(source.replace(CHOSEN, f"return {profile}"))
    done = bench.taking(tmp_path).run(RUNS, str(bundle))
    assert '"TensorRT": {"runs": [[0, 1], [1, 2], [1, 4]], "wrong": 0}' not in done.stdout
    assert done.returncode == (0 if "False" in profile else 1)
