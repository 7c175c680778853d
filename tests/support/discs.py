"""Parts that a tiny network learns in seconds: grey discs, with a scratch if they are defective."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch


def disc(rng: np.random.Generator, *, bad: bool = False, width: int = 64) -> np.ndarray:
    """A disc as `(3, 64, width)` uint8; a bad one has a bright scratch."""
    picture = np.full((64, width, 3), 60, np.uint8)
    cv2.circle(picture, (32, 32), 22, (150, 150, 150), -1)
    if bad:
        x, y = (int(v) for v in rng.integers(20, 36, 2))
        cv2.line(picture, (x, y), (x + 14, y + 8), (255, 255, 255), 5)
    noisy = picture.astype(np.int16) + rng.integers(-4, 5, picture.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8).transpose(2, 0, 1)


def discs(count: int, seed: int, *, bad: bool = False, width: int = 64) -> torch.Tensor:
    """Discs as `(count, 3, 64, width)` uint8."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.stack([disc(rng, bad=bad, width=width) for _ in range(count)]))


def write_discs(folder: Path, count: int) -> Path:
    """Good discs in MVTec AD's layout."""
    good = folder / "train" / "good"
    good.mkdir(parents=True)
    for i, image in enumerate(discs(count, 0).numpy()):
        cv2.imwrite(str(good / f"{i:03}.png"), np.ascontiguousarray(image.transpose(1, 2, 0)[..., ::-1]))
    return folder
