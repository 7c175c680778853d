"""Pairs made of MVTec's layout lie on their masters, and no part is both trained with and tested on."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import mvtec_pairs
import numpy as np
import pytest

from trt_build.data.pairs import read_pairs

SIZE = 96


def write_product(folder: Path) -> None:
    """Parts that lie a few pixels aside; defective ones have a white square, whose mask lies aside, too."""
    noise = np.random.default_rng(0).normal(0, 1, (SIZE, SIZE)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 4)
    pattern = np.clip(110 + 300 * smooth, 20, 180).astype(np.uint8)
    for kind, count in (("train/good", 24), ("test/good", 3), ("test/dent", 5), ("test/stain", 2)):
        (folder / kind).mkdir(parents=True)
        for i in range(count):
            part, mask = pattern.copy(), np.zeros((SIZE, SIZE), np.uint8)
            part[0, i], part[1, len(kind)] = 255, 255  # no two pictures are equal
            if "good" not in kind:
                part[40:52, 30:42], mask[40:52, 30:42] = 255, 255
            aside = np.array([[1, 0, 3 * (i % 3)], [0, 1, 4 * (i % 2)]], np.float32)
            part = cv2.warpAffine(part, aside, (SIZE, SIZE), borderMode=cv2.BORDER_REFLECT)
            mask = cv2.warpAffine(mask, aside, (SIZE, SIZE))
            cv2.imwrite(str(folder / kind / f"{i:03}.png"), part)
            if "good" not in kind:
                masks = folder / kind.replace("test", "ground_truth")
                masks.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(masks / f"{i:03}_mask.png"), mask)


def test_parts_lie_on_their_masters_with_their_masks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half of the defective parts of each kind are for the test; all test parts have the same master."""
    write_product(tmp_path / "product")
    words = [
        "mvtec_pairs",
        str(tmp_path / "pairs"),
        "--product",
        str(tmp_path / "product"),
        "--size",
        str(SIZE),
    ]
    monkeypatch.setattr(sys, "argv", words)
    mvtec_pairs.main()
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said == {"train_good": 24, "train_defective": 4, "test_good": 3, "test_defective": 3}
    train, test = read_pairs(tmp_path / "pairs" / "train"), read_pairs(tmp_path / "pairs" / "test")
    assert (train.kinds, train.labels, len(train), len(test)) == (("defect",), "masks", 28, 6)
    assert [pair.name for pair in test if not pair.is_good] == ["dent-001", "dent-003", "stain-001"]
    assert len({pair.master.tobytes() for pair in test}) == 1
    assert len({pair.master.tobytes() for pair in train}) > 5
    for pair in (*train, *test):
        apart = cv2.absdiff(pair.board, pair.master)[8:-8, 8:-8]
        assert pair.mask is not None
        inside = pair.mask[8:-8, 8:-8] > 0
        assert apart[~cv2.dilate(inside.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)].mean() < 3
        assert pair.is_good or apart[inside].mean() > 80
