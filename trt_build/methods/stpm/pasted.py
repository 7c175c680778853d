"""Makes defective parts from good ones: pastes a patch of one picture into another.

Source: CutPaste (Li et al., CVPR 2021, arXiv 2104.04015). Here most patches are small and half transparent, so
that not all defects are easy to find.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Picture = npt.NDArray[np.uint8]

#: Smallest and largest side of a patch as a share of the picture's side, and its smallest and largest opacity.
SIDES, OPACITY = (0.03, 0.15), (0.3, 1.0)
#: Mean change of a patch, in grey levels, that can be seen, and the places that are tried for it.
VISIBLE, TRIES = 8, 30


def with_pasted(images: Tensor, seed: int) -> Tensor:
    """Return a copy of each picture, `(N, C, H, W)` uint8, with a patch of the next picture pasted into it."""
    rng = np.random.default_rng(seed)
    whole = images.numpy()
    return torch.from_numpy(np.stack([_pasted(whole[i], whole[i - 1], rng) for i in range(len(whole))]))


def _pasted(picture: Picture, other: Picture, rng: np.random.Generator) -> Picture:
    """Return a copy of `picture`, `(C, H, W)` uint8, with a patch from elsewhere in `other`."""
    size = np.array(picture.shape[1:])
    for _ in range(TRIES):
        shares = np.exp(rng.uniform(np.log(SIDES[0]), np.log(SIDES[1]), size=2))
        height, width = np.maximum(2, size * shares).astype(int)
        (top, left), (y, x) = rng.integers(0, size - (height, width) + 1, size=(2, 2))
        here = picture[:, top : top + height, left : left + width].astype(np.float32)
        change = rng.uniform(*OPACITY) * (other[:, y : y + height, x : x + width] - here)
        if np.abs(change).mean() >= VISIBLE:
            break
    defective: Picture = picture.copy()
    defective[:, top : top + height, left : left + width] = np.round(here + change)
    return defective
