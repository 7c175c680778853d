"""`trt-build train comparator` names what is wrong with pairs before it spends an hour on them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs torch, which only building models uses")
pytest.importorskip("safetensors", reason="needs safetensors, which only building models uses")


pytestmark = pytest.mark.usefixtures("nowhere")


def _few_pairs(pairs: Path) -> None:
    for path in pairs.glob("[1-5]*"):
        path.unlink()


DAMAGED_PAIRS = {
    "wrong kind": lambda pairs: (pairs / "07.txt").write_text("4 4 8 8 9\n"),
    "half a pair": lambda pairs: (pairs / "07_temp.png").unlink(),
    "unreadable board": lambda pairs: (pairs / "07_test.png").write_bytes(b"no picture"),
    "few pairs": _few_pairs,
}


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        ("wrong kind", "07.txt:1: expected a type of 1..6, found 9"),
        ("half a pair", "07_temp.*: expected a picture"),
        ("unreadable board", "07_test.png: expected a picture"),
        ("few pairs", "expected at least 16 pairs to train with and one to measure by, found "),
    ],
    ids=lambda value: value if value in DAMAGED_PAIRS else "",
)
def test_bad_pairs_are_named(
    refused: Callable[..., str], pcb_pairs: Path, tmp_path: Path, damage: str, found: str
) -> None:
    """A comparator learns from whole pairs, and from enough of them to fill a batch."""
    pairs = Path(shutil.copytree(pcb_pairs, tmp_path / "pairs"))
    DAMAGED_PAIRS[damage](pairs)
    assert found in refused("comparator", pairs)
