"""The fake GPU is built once and whole, or the error says what is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fake_gpu import build


def test_what_the_bench_needs_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a compiler or CUDA's headers the tests are skipped, and the reason says what to install."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(build.Missing, match="gcc is not installed"):
        build.libraries()


def test_processes_that_build_at_once_build_once(tmp_path: Path) -> None:
    """The others wait for the first process and use what it built."""
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom fake_gpu import build\n"
        "def make(folder):\n    Path(sys.argv[1]).open('a').write('made\\n')\n    (folder / 'it').touch()\n"
        "print((build._kept('thing', make) / 'it').exists())\n"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(build.HERE.parent)}
    command = [sys.executable, "-c", script, str(tmp_path / "log")]
    builders = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) for _ in range(3)]
    assert [builder.communicate()[0] for builder in builders] == [b"True\n"] * 3
    assert (tmp_path / "log").read_text() == "made\n"
