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
    """What its processes find; packages under test are taken from `packages` first, then as installed."""

    pycuda: Path
    libraries: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    packages: tuple[Path, ...] = ()

    def run(self, script: str | Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What a script, a file or its text, exits with and prints; after two minutes it is killed."""
        environment = {**os.environ, **self.environment()}
        command = [sys.executable, *([str(script)] if isinstance(script, Path) else ["-c", script]), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)

    def environment(self) -> dict[str, str]:
        """By which a process finds pycuda, the fake driver and the fake `tensorrt`."""
        python = [*self.packages, self.pycuda, build.HERE, build.HERE.parent, build.HERE.parent / "support"]
        return {
            "LD_LIBRARY_PATH": _before("LD_LIBRARY_PATH", self.libraries),
            "PYTHONPATH": _before("PYTHONPATH", *python),
            "FAKE_CUDA_KERNELS": str(self.libraries / "libkernels.so"),
            **self.variables,
        }

    def ask(self, script: str | Path, *arguments: str) -> Any:
        """The JSON that a script prints last; AssertionError with its errors where it fails."""
        done = self.run(script, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def says(self, script: str) -> Any:
        """What a script, in the primary context and with what `session.py` brings, leaves in `said`."""
        head = "import json\nimport numpy as np\nimport fake\nfrom session import *\n\n"
        start = "def main():\n    said = {}\n"
        end = "    return said\n\nwith gpu():\n    said = main()\nprint(json.dumps(said))\n"
        return self.ask(head + start + textwrap.indent(textwrap.dedent(script), "    ") + end)

    def having(self, **variables: object) -> Machine:
        """The same with these variables of the environment."""
        told = {name: str(value) for name, value in variables.items()}
        return Machine(self.pycuda, self.libraries, {**self.variables, **told}, self.packages)

    def taking(self, *packages: Path) -> Machine:
        """The same with other copies of the packages under test."""
        return Machine(self.pycuda, self.libraries, self.variables, packages)


def _before(variable: str, *folders: Path) -> str:
    """A path of folders that is looked through before what the environment says."""
    return os.pathsep.join([*map(str, folders), *filter(None, [os.environ.get(variable)])])


def built() -> Machine:
    """The machine, built where it is not in the cache; the test is skipped where that lacks something."""
    try:
        return Machine(build.pycuda(), build.libraries())
    except build.Missing as missing:
        pytest.skip(str(missing))
