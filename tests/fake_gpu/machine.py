"""A machine with a fake GPU: processes in which real pycuda runs on the fake driver."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from . import build


@dataclass(frozen=True)
class Machine:
    """The folders and variables of its processes; packages under test come from `packages` first."""

    pycuda: Path
    libraries: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    packages: tuple[Path, ...] = ()

    def run(self, script: str | Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a script, given as a file or as text, for at most two minutes; return its status and output."""
        environment = {**os.environ, **self.environment()}
        command = [sys.executable, *([str(script)] if isinstance(script, Path) else ["-c", script]), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)

    def environment(self) -> dict[str, str]:
        """Return the variables by which a process finds pycuda, the fake driver and the fake `tensorrt`."""
        python = [*self.packages, self.pycuda, build.HERE, build.HERE.parent, build.HERE.parent / "support"]
        return {
            "LD_LIBRARY_PATH": _before("LD_LIBRARY_PATH", self.libraries),
            "PYTHONPATH": _before("PYTHONPATH", *python),
            "FAKE_CUDA_KERNELS": str(self.libraries / "libkernels.so"),
            **self.variables,
        }

    def ask(self, script: str | Path, *arguments: str) -> Any:
        """Return the JSON in a script's last line; raise AssertionError with its errors if it fails."""
        done = self.run(script, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def says(self, script: str) -> Any:
        """Run a script in the primary context with the names of `session.py`; return its `said`."""
        head = "import json\nimport numpy as np\nimport fake\nfrom session import *\n\n"
        start = "def main():\n    said = {}\n"
        end = "    return said\n\nwith gpu():\n    said = main()\nprint(json.dumps(said))\n"
        return self.ask(head + start + textwrap.indent(textwrap.dedent(script), "    ") + end)

    def having(self, **variables: object) -> Machine:
        """Return the same machine with more environment variables."""
        told = {name: str(value) for name, value in variables.items()}
        return Machine(self.pycuda, self.libraries, {**self.variables, **told}, self.packages)

    def taking(self, *packages: Path) -> Machine:
        """Return the same machine with other copies of the packages under test."""
        return Machine(self.pycuda, self.libraries, self.variables, packages)


def _before(variable: str, *folders: Path) -> str:
    """Return a search path: these folders, then those of the environment variable."""
    return os.pathsep.join([*map(str, folders), *filter(None, [os.environ.get(variable)])])


def built() -> Machine:
    """Return the machine, built if it is not in the cache; skip the test if something is missing."""
    try:
        return Machine(build.pycuda(), build.libraries())
    except build.Missing as missing:
        pytest.skip(str(missing))
