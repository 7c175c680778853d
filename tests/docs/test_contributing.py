"""What CONTRIBUTING says about tests is so."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def collected(*options: str) -> str:
    """The tests that pytest would run of files of both kinds."""
    files = (
        "tests/edge/monitoring/gpu/test_nvml.py",
        "tests/fake_gpu/test_lanes.py",
        "tests/trt_build/engines/test_kernels.py",
    )
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *options]
    return subprocess.run([*command, *files], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_nothing_is_built_unless_asked_for() -> None:
    """Who types `pytest` waits for no compiler; `-m built` runs what was left out, and nothing else."""
    by_default, built = collected(), collected("-m", "built")
    for name in ("a_machine_without_a_driver_has_no_gpu", "a_compiler_that_fails_is_quoted"):
        assert name in by_default
        assert name not in built
    for name in ("a_lost_gpu_is_an_error", "each_of_a_thousand_parts", "one_file_serves_every_card"):
        assert name not in by_default
        assert name in built


def test_every_script_of_the_ci_is_told() -> None:
    """Each is named with what it does, and can be run."""
    told = set(re.findall(r"^ {4}\.ci/(\w+) +# .+", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE))
    assert told == {path.name for path in (ROOT / ".ci").iterdir()}
    assert all(os.access(ROOT / ".ci" / name, os.X_OK) for name in told)
