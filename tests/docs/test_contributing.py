"""What CONTRIBUTING.md says about tests is so."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = (
    "tests/edge/monitoring/gpu/test_nvml.py",
    "tests/fake_gpu/test_lanes.py",
    "tests/trt_build/engines/test_kernels.py",
)
COLLECT = """
import pytest, sys
for marked in ([], ["-m", "built"]):
    assert not pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", *marked, *sys.argv[1:]])
    print("=== and with -m built ===")
"""


def test_nothing_is_built_unless_asked_for() -> None:
    """Plain `pytest` waits for no compiler; `pytest -m built` runs the tests that it left out, no others."""
    command = [sys.executable, "-c", COLLECT, *FILES]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    by_default, built, _ = done.stdout.split("=== and with -m built ===")
    for name in ("a_machine_without_a_driver_has_no_gpu", "a_compiler_that_fails_is_quoted"):
        assert name in by_default
        assert name not in built
    for name in ("a_lost_gpu_is_an_error", "each_of_a_thousand_parts", "one_file_serves_every_card"):
        assert name not in by_default
        assert name in built


def test_every_script_of_the_ci_is_told() -> None:
    """CONTRIBUTING.md says what each script of the CI does, and each script can be run."""
    told = set(re.findall(r"^ {4}\.ci/(\w+) +# .+", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE))
    assert told == {path.name for path in (ROOT / ".ci").iterdir()}
    assert all(os.access(ROOT / ".ci" / name, os.X_OK) for name in told)
