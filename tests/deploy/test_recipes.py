"""The recipes that ship run as they are, once they name a bundle that is there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from edge import demo

BELT = Path(__file__).parents[2] / "deploy/recipes/belt.toml"


def test_the_example_of_a_belt_can_be_run(tmp_path: Path) -> None:
    """`edge check` takes it: each camera delivers pictures that have a master, and the encoder counts."""
    text, bundle = BELT.read_text(), Path(demo.__file__).parent / "bundle"
    for old, new in (("/opt/linejudge/demo-bundle", str(bundle)), ("port = 9179", "port = 0"), ("5572", "*")):
        assert text.count(old) == 1
        text = text.replace(old, new)
    (tmp_path / "belt.toml").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "edge", "check", str(tmp_path / "belt.toml")],
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for told in ("encoder   counts", "top delivers 640x640", "side delivers 640x640"):
        assert told in done.stdout
