"""Trains a comparator on a folder of pairs, each with the pictures of a board and of its master."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edge.engines.processor import usable_cores
from edge.render.defects import KINDS
from trt_build.data.errors import DatasetError, raise_mistakes
from trt_build.data.pairs import Pair, PairSet, fitted, read_pairs, split
from trt_build.figures.boards import FloatArray, Judge, Picture, choose_cut, figures, find_all
from trt_build.figures.masks import choose_mask_thresholds, mask_figures
from trt_build.methods.ahead import Ahead
from trt_build.methods.comparator.augment import Augmentation, augment, augmentation_for
from trt_build.methods.comparator.network import COARSEST, STRIDE, Comparator, ComparatorConfig
from trt_build.methods.comparator.targets import cover_loss, cover_of, extents_loss, map_loss, targets_of
from trt_build.methods.loop import TrainConfig, fit
from trt_build.terminal.progress import counted

#: The settings of a training, if the user gives no others.
TRAINING = TrainConfig(epochs=50)
#: Masters, boards, and what the network should return for them: the map, and the extents if it has them.
Batch = tuple[Tensor, ...]
#: Crops in an epoch, if there are fewer pairs and they are no boards.
CROPS = 1000


@dataclass(frozen=True, kw_only=True)
class ComparatorTask:
    """What the training loop needs: the network, random crops of pairs as batches, and the loss."""

    model: Comparator
    pairs: Sequence[Pair]
    held_out: Sequence[Pair]
    augmentation: Augmentation
    batch: int = 16
    crops: int = 1  # crops of each pair in an epoch
    #: Batches that are made in advance.
    ahead: int = field(default_factory=lambda: 4 if usable_cores() > 1 else 0)
    seed: int = 0

    def batches(self, epoch: int) -> Ahead[Batch]:
        """Return the batches of an epoch. A thread makes some of them in advance."""
        crops = _Crops(self, epoch)
        return Ahead(crops.batch, crops.batches, self.ahead)

    def loss(self, batch: Batch) -> Tensor:
        """Return the loss of a batch, a float32 scalar: the map's loss plus twice the extents' loss, if any."""
        master, board, map_, *sides = batch
        count = len(master)
        both = torch.cat((master, board)).contiguous(memory_format=torch.channels_last)
        features = self.model.encode(both)
        logits, extents = self.model.decode([f[:count] for f in features], [f[count:] for f in features])
        with torch.autocast("cpu", enabled=False):
            if extents is None:
                return cover_loss(logits.float(), map_)
            return map_loss(logits.float(), map_) + 2.0 * extents_loss(extents.float(), sides[0])

    def settle(self, model: nn.Module) -> None:
        """Do nothing: the network has nothing but trained weights."""

    def check(self, model: nn.Module) -> Mapping[str, float]:
        """Return quality figures on the held-out pairs: of boxes, in per cent and with `cut`, or of masks."""
        kinds, judge = self.model.config.kinds, torch_judge(model)
        kept = counted(self.held_out, "judging boards kept from training")
        if not self.model.config.extents:
            maps = [judge(pair.master, pair.board)[0] for pair in kept]
            return mask_figures(self.held_out, maps, choose_mask_thresholds(self.held_out, maps, kinds))
        found = find_all(judge, kept, kinds)
        result = figures(self.held_out, found, kinds, cut=choose_cut(self.held_out, found))
        return {name: result[name] for name in ("ap_pooled", "f", "map33", "map50", "cut")}


def torch_judge(model: nn.Module) -> Judge:
    """Return the network as a function that takes master and board, and returns map and extents."""

    @torch.inference_mode()
    def judge(master: Picture, board: Picture) -> tuple[FloatArray, FloatArray | None]:
        images = [torch.from_numpy(_planes(image))[None] for image in (master, board)]
        map_, extents = model(*images)
        return map_[0].numpy(), None if extents is None else extents[0].numpy()

    return judge


def _planes(picture: Picture) -> Picture:
    """Return a picture, `(H, W)` grey or `(H, W, 3)` BGR, as `(C, H, W)`."""
    return picture[None] if picture.ndim == 2 else np.ascontiguousarray(np.moveaxis(picture, -1, 0))


class _Crops:
    """The crops of one epoch in random order. Each depends only on the seed, the epoch and its index."""

    def __init__(self, task: ComparatorTask, epoch: int) -> None:
        self._task, self._epoch = task, epoch
        self.batches = len(task.pairs) * task.crops // task.batch
        order = np.random.default_rng((task.seed, epoch)).permutation(len(task.pairs) * task.crops)
        self._order = order % len(task.pairs)

    def batch(self, number: int) -> Batch:
        """Return masters and boards as `(B, C, h, w)` uint8, and what the network should return for them.

        These targets are maps `(B, K, h/4, w/4)` and, for boxes, weights with extents `(B, 5, h/4, w/4)`, both
        float32.
        """
        size = self._task.batch
        crops = [self._crop(index) for index in range(number * size, (number + 1) * size)]
        return tuple(torch.from_numpy(np.stack(each)) for each in zip(*crops, strict=True))

    def _crop(self, index: int) -> tuple[Any, ...]:
        task = self._task
        rng = np.random.default_rng((task.seed, self._epoch, index))
        crop = augment(task.pairs[self._order[index]], task.augmentation, rng)
        count, pictures = len(task.model.config.kinds), (_planes(crop.master), _planes(crop.board))
        if not task.model.config.extents:
            assert crop.mask is not None
            return *pictures, cover_of(crop.mask, count, STRIDE)
        size = (crop.board.shape[0], crop.board.shape[1])
        return *pictures, *targets_of(crop.boxes, crop.kinds, size, count, STRIDE)


def train_comparator(
    data: Path,
    folder: Path,
    *,
    training: TrainConfig = TRAINING,
    size: tuple[int, int] | None = None,
    augmentation: Augmentation | None = None,
) -> int:
    """Train on the pairs in the folder `data`, and return the number of finished epochs.

    The pairs decide about kinds, colour, and whether boxes or masks are learned. `size` is the width and height
    to which pictures are scaled; without it, they keep their size. `split` keeps some of the pairs to measure
    with. Write the checkpoint to `folder`; if `folder` has a checkpoint, continue from it. Without
    `augmentation`, `augmentation_for` chooses one. Raise DatasetError if there are too few pairs, if a kind has
    no pair, or if the size does not fit the network.
    """
    torch.manual_seed(training.seed)
    pairs = read_pairs(data)
    network = config_for(pairs, data, size)
    train, held_out = split([fitted(pair, network.input) for pair in pairs])
    if len(train) < ComparatorTask.batch or not held_out:
        raise DatasetError(
            f"{data}: expected at least {ComparatorTask.batch} pairs to train with and one to measure by, "
            f"found {len(train)} and {len(held_out)}: give more, about 50"
        )
    _check_kinds(train, network.kinds, data)
    task = ComparatorTask(
        model=Comparator(network),
        pairs=train,
        held_out=held_out,
        augmentation=augmentation or augmentation_for(train, network.kinds),
        crops=1 if network.kinds == KINDS else max(1, CROPS // len(train)),
        seed=training.seed,
    )
    return fit(task, folder, training, describe={"model": "comparator", "config": asdict(network)})


def config_for(pairs: PairSet, data: Path, size: tuple[int, int] | None = None) -> ComparatorConfig:
    """Return the configuration of a network for these pairs, for pictures of `size`, a width and a height.

    Raise DatasetError, which names the folder `data`, if there is no `size` and the pictures differ in size or
    have sides that are no multiples of 32.
    """
    sizes = dict.fromkeys((pair.board.shape[1], pair.board.shape[0]) for pair in pairs)
    if size is None and len(sizes) > 1:
        one, other = list(sizes)[:2]
        raise DatasetError(
            f"{data}: has pictures of {one[0]}x{one[1]} and of {other[0]}x{other[1]}: scale all of them to one "
            "size by --size"
        )
    width, height = size or next(iter(sizes))
    if width % COARSEST or height % COARSEST:
        nearest = "x".join(str(max(1, round(side / COARSEST)) * COARSEST) for side in (width, height))
        raise DatasetError(
            f"{data}: has pictures of {width}x{height}, expected sides that are multiples of {COARSEST}: scale "
            f"them by --size {nearest}"
        )
    return ComparatorConfig(
        kinds=pairs.kinds,
        in_channels=1 if pairs.color == "gray" else 3,
        extents=pairs.labels == "boxes",
        height=height,
        width=width,
    )


def _check_kinds(train: Sequence[Pair], kinds: Sequence[str], data: Path) -> None:
    """Raise DatasetError for each kind of which there is no pair to train with."""
    # A small set of boards need not show all six kinds of boards.
    shown = {int(kind) for pair in train for kind in pair.kinds}
    raise_mistakes(
        f"{data}: no pair to train with shows the kind {kind!r}: give pairs that do, or delete the kind"
        for i, kind in enumerate(kinds)
        if i not in shown and tuple(kinds) != KINDS
    )
