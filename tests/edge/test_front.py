"""What other programs may import from `edge` itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

import edge


def test_the_front_is_what_is_promised() -> None:
    """These names stay; all else of `edge` may move."""
    assert edge.__all__ == [
        "Alarm",
        "Heartbeat",
        "Missed",
        "Place",
        "Silent",
        "Verdict",
        "read_bundle",
        "read_recipe",
        "subscribe",
    ]
    assert all(getattr(edge, name).__name__ == name for name in edge.__all__)


def test_a_name_that_is_none_is_an_error() -> None:
    """As in any other module."""
    with pytest.raises(AttributeError, match="'edge' has no attribute 'publish'"):
        _ = edge.publish  # type: ignore[attr-defined]


@pytest.mark.parametrize("module", ["edge", "edge.line.start"])
def test_a_stage_loads_nothing_before_it_is_tied_to_its_supervisor(module: str) -> None:
    """Else a supervisor that ends meanwhile leaves a process behind."""
    code = f"import sys, {module}; print({{'msgspec', 'numpy', 'zmq', 'cv2'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
