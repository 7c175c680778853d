"""Turns boxes or masks of defects into what the comparator should return at each cell, and computes the losses.

With boxes, in the map of its kind, a defect is a Gaussian hill, larger for larger boxes (TTFNet, Liu et al.,
arXiv 1909.00700). The loss of the map is CenterNet's focal loss (Zhou et al., arXiv 1904.07850). The loss of
the extents is the generalised IoU (Rezatofighi et al., arXiv 1902.09630) on the cells of the hill. With masks,
the map holds the share of each cell that a defect covers; its loss is cross-entropy plus Dice (Milletari et
al., arXiv 1606.04797).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

#: Share of the box that its hill covers, along each axis.
SPREAD = 0.54


def targets_of(
    boxes: npt.NDArray[np.float32], kinds: npt.NDArray[np.int64], size: tuple[int, int], count: int, stride: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the map and the extents that the comparator should give for one picture, both float32.

    The map is `(count, H/s, W/s)` in 0..1, where s is the stride and `count` the number of kinds. The extents
    are `(5, H/s, W/s)`: the weight of a cell in the loss, and its distances in pixels to the left, top, right
    and bottom side of the box. A defect's weights add up to one. `size` is height and width in pixels. Boxes
    are `(B, 4)`: left, top, right, bottom.
    """
    height, width = size[0] // stride, size[1] // stride
    map_ = np.zeros((count, height, width), np.float32)
    sides = np.zeros((5, height, width), np.float32)
    rows = (np.arange(height, dtype=np.float32) + 0.5) * stride
    columns = (np.arange(width, dtype=np.float32) + 0.5) * stride
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    # Large ones first: where two boxes overlap, the smaller one keeps its cells.
    for i in np.argsort(-areas, kind="stable"):
        left, top, right, bottom = boxes[i]
        middle_row = min(max(int((top + bottom) / 2 / stride), 0), height - 1)
        middle_column = min(max(int((left + right) / 2 / stride), 0), width - 1)
        across = _hill(columns - columns[middle_column], right - left)
        hill = np.outer(_hill(rows - rows[middle_row], bottom - top), across)
        np.maximum(map_[kinds[i]], hill, out=map_[kinds[i]])
        own_rows, own_columns = np.nonzero(hill)
        x, y = columns[own_columns], rows[own_rows]
        weight = hill[own_rows, own_columns] / hill.sum()
        sides[:, own_rows, own_columns] = weight, x - left, y - top, right - x, bottom - y
    return map_, sides


def cover_of(mask: npt.NDArray[np.uint8], count: int, stride: int) -> npt.NDArray[np.float32]:
    """Return for each of `count` kinds the share of each cell that its defects cover, `(count, H/s, W/s)`.

    The mask `(H, W)` is 0 at good pixels, else 1 + the kind's index. A cell has `stride` pixels on each side.
    """
    height, width = mask.shape[0] // stride, mask.shape[1] // stride
    cells = mask[: height * stride, : width * stride].reshape(height, stride, width, stride)
    shares = [(cells == 1 + kind).mean(axis=(1, 3), dtype=np.float32) for kind in range(count)]
    return np.stack(shares)


def _hill(offset: npt.NDArray[np.float32], length: float) -> npt.NDArray[np.float32]:
    """Return a Gaussian's values at offsets in pixels from its centre as `(n,)`. `length` is the box's side."""
    sigma = max(SPREAD * length / 6, 1.0)
    values = np.exp(-0.5 * (offset / sigma) ** 2)
    return np.where(np.abs(offset) <= 3 * sigma, values, 0).astype(np.float32)


def map_loss(logits: Tensor, map_: Tensor) -> Tensor:
    """Return the focal loss of the map, divided by the number of defects, as a scalar.

    `logits` is what the network returned, and `map_` what it should have returned. Both are `(N, K, h, w)`.
    """
    peaks = map_ >= 0.999
    sure, doubt = F.logsigmoid(logits), F.logsigmoid(-logits)
    chance = logits.sigmoid()
    hit = sure * (1 - chance) ** 2 * peaks
    miss = doubt * chance**2 * (1 - map_) ** 4 * ~peaks
    return -(hit.sum() + miss.sum()) / peaks.sum().clamp(min=1)


def cover_loss(logits: Tensor, cover: Tensor) -> Tensor:
    """Return cross-entropy plus one minus the Dice coefficient of each kind, averaged, as a scalar.

    `logits` is what the network returned, and `cover` what it should have returned. Both are `(N, K, h, w)`.
    The coefficient is that of the whole batch, so that pictures without defects do not upset it.
    """
    entropy = F.binary_cross_entropy_with_logits(logits, cover)
    chance = logits.sigmoid()
    both = (chance * cover).sum(dim=(0, 2, 3))
    either = chance.sum(dim=(0, 2, 3)) + cover.sum(dim=(0, 2, 3))
    dice = (2 * both + 1) / (either + 1)
    return entropy + (1 - dice).mean()


def extents_loss(extents: Tensor, sides: Tensor) -> Tensor:
    """Return one minus the generalised IoU of true and found boxes, averaged over the defects, as a scalar.

    `extents` `(N, 4, h, w)` is what the network returned. `sides` `(N, 5, h, w)` comes from `targets_of`.
    """
    weight, truth = sides[:, 0], sides[:, 1:]
    low, high = torch.minimum(extents, truth), torch.maximum(extents, truth)
    both = (low[:, 0] + low[:, 2]).clamp(min=0) * (low[:, 1] + low[:, 3]).clamp(min=0)
    hull = (high[:, 0] + high[:, 2]) * (high[:, 1] + high[:, 3]) + 1e-6
    either = _area(extents) + _area(truth) - both + 1e-6
    generalised = both / either - (hull - either) / hull
    return (weight * (1 - generalised)).sum() / weight.sum().clamp(min=1)


def _area(extents: Tensor) -> Tensor:
    """Return the areas of boxes in square pixels as `(N, h, w)`. `extents` is `(N, 4, h, w)`."""
    return (extents[:, 0] + extents[:, 2]) * (extents[:, 1] + extents[:, 3])
