"""`trt-build train` names what is wrong with pictures of parts before it spends an hour on them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch, which only building models uses")
pytest.importorskip("safetensors", reason="needs safetensors, which only building models uses")

from drafts import part

pytestmark = pytest.mark.usefixtures("nowhere")
ANOMALY = ("autoencoder", "stpm", "pfm", "gaussian")


@pytest.fixture
def parts(part_folder: Path, tmp_path: Path) -> Path:
    """Parts that a test may damage."""
    return Path(shutil.copytree(part_folder, tmp_path / "parts"))


def _few(parts: Path) -> None:
    for path in sorted((parts / "train/good").iterdir())[2:]:
        path.unlink()


def _small_mask(parts: Path) -> None:
    cv2.imwrite(str(parts / "ground_truth/spot/003_mask.png"), np.zeros((16, 16), np.uint8))


def _defective_in_training(parts: Path) -> None:
    (parts / "test/spot").rename(parts / "train/spot")
    shutil.rmtree(parts / "ground_truth")


DAMAGE = {
    "no good ones": lambda parts: shutil.rmtree(parts / "train"),
    "few": _few,
    "unreadable": lambda parts: (parts / "train/good/007.png").write_bytes(b"no picture"),
    "two sizes": lambda parts: cv2.imwrite(str(parts / "train/good/007.png"), part(7)[:, :30]),
    "small mask": _small_mask,
    "defective in training": _defective_in_training,
    "without label": lambda parts: (parts / "train/good/007.png").rename(parts / "train/007.png"),
}


@pytest.mark.parametrize("method", ANOMALY)
@pytest.mark.parametrize(
    ("damage", "found", "remedy"),
    [
        ("no good ones", "train/good: expected pictures of good parts", "put them there"),
        ("few", "train/good: 2 good parts leave ", "150 would also set a threshold"),
        ("unreadable", "train/good/007.png: expected a picture", "take it out"),
        ("two sizes", "train/good/007.png: is 30x32, most pictures are 32x32", "--mixed-sizes"),
        ("small mask", "spot/003_mask.png: is 16x16, its picture 32x32", "draw the mask anew"),
        ("defective in training", "train/spot: only good parts are trained with", "move the folder to"),
        ("without label", "train/007.png: lies in no label's folder", "move it to"),
    ],
    ids=lambda value: value if value in DAMAGE else "",
)
def test_bad_pictures_of_parts_are_named(
    refused: Callable[..., str],
    parts: Path,
    method: str,
    damage: str,
    found: str,
    remedy: str,
) -> None:
    """Whatever the method: the file, what is wrong with it, and what to do."""
    DAMAGE[damage](parts)
    said = refused(method, parts)
    assert found in said
    assert remedy in said


def test_mixed_sizes_are_taken_where_that_is_meant(refused: Callable[..., str], parts: Path) -> None:
    """With the option that the error names, only the weights are still missing."""
    DAMAGE["two sizes"](parts)
    said = refused("stpm", parts, "--mixed-sizes", "--backbone", "mobilenet_v2")
    assert "mobilenet_v2: found no" in said
