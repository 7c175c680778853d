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
from trt_build.data.errors import DatasetError
from trt_build.data.pairs import Pair, read_pairs, split
from trt_build.figures.boards import FloatArray, Judge, Picture, choose_cut, figures, find_all
from trt_build.methods.ahead import Ahead
from trt_build.methods.comparator.augment import Augmentation, augment, augmentation_for
from trt_build.methods.comparator.network import STRIDE, Comparator, ComparatorConfig
from trt_build.methods.comparator.targets import extents_loss, map_loss, targets_of
from trt_build.methods.loop import TrainConfig, fit
from trt_build.terminal.progress import counted

TRAINING = TrainConfig(epochs=50)

Batch = tuple[Tensor, Tensor, Tensor, Tensor]


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
        """Return the loss of a batch: the map's loss plus twice the extents' loss, as a scalar float32."""
        master, board, map_, sides = batch
        count = len(master)
        both = torch.cat((master, board)).contiguous(memory_format=torch.channels_last)
        features = self.model.encode(both)
        logits, extents = self.model.decode([f[:count] for f in features], [f[count:] for f in features])
        with torch.autocast("cpu", enabled=False):
            return map_loss(logits.float(), map_) + 2.0 * extents_loss(extents.float(), sides)

    def settle(self, model: nn.Module) -> None:
        """Do nothing: the network has nothing but trained weights."""

    def check(self, model: nn.Module) -> Mapping[str, float]:
        """Return quality figures on the held-out pairs in per cent, and the best score threshold, `cut`."""
        found = find_all(torch_judge(model), counted(self.held_out, "judging boards kept from training"))
        result = figures(self.held_out, found, cut=choose_cut(self.held_out, found))
        return {name: result[name] for name in ("ap_pooled", "f", "map33", "map50", "cut")}


def torch_judge(model: nn.Module) -> Judge:
    """Return the network as a function that takes master and board, and returns map and extents."""

    @torch.inference_mode()
    def judge(master: Picture, board: Picture) -> tuple[FloatArray, FloatArray]:
        images = [torch.from_numpy(image)[None, None] for image in (master, board)]
        map_, extents = model(*images)
        return map_[0].numpy(), extents[0].numpy()

    return judge


class _Crops:
    """The crops of one epoch in random order. Each depends only on the seed, the epoch and its index."""

    def __init__(self, task: ComparatorTask, epoch: int) -> None:
        self._task, self._epoch = task, epoch
        self.batches = len(task.pairs) * task.crops // task.batch
        order = np.random.default_rng((task.seed, epoch)).permutation(len(task.pairs) * task.crops)
        self._order = order % len(task.pairs)

    def batch(self, number: int) -> Batch:
        """Return masters and boards as `(B, 1, h, w)` uint8, and what the network should return for them.

        These targets are maps `(B, K, h/4, w/4)` and weights with extents `(B, 5, h/4, w/4)`, both float32.
        """
        size = self._task.batch
        crops = [self._crop(index) for index in range(number * size, (number + 1) * size)]
        master, board, map_, sides = (torch.from_numpy(np.stack(each)) for each in zip(*crops, strict=True))
        return master, board, map_, sides

    def _crop(self, index: int) -> tuple[Any, ...]:
        task = self._task
        rng = np.random.default_rng((task.seed, self._epoch, index))
        master, board, boxes, kinds = augment(task.pairs[self._order[index]], task.augmentation, rng)
        map_, sides = targets_of(boxes, kinds, board.shape, len(KINDS), STRIDE)
        return master[None], board[None], map_, sides


def train_comparator(
    pairs: Path,
    folder: Path,
    *,
    network: ComparatorConfig,
    training: TrainConfig = TRAINING,
    augmentation: Augmentation | None = None,
) -> int:
    """Train on the pairs in the folder `pairs`, and return the number of finished epochs.

    `split` keeps some of the pairs to measure with. Write the checkpoint to `folder`; if `folder` has a
    checkpoint, continue from it. Without `augmentation`, `augmentation_for` chooses one. Raise DatasetError if
    there are too few pairs.
    """
    torch.manual_seed(training.seed)
    train, held_out = split(read_pairs(pairs))
    if len(train) < ComparatorTask.batch or not held_out:
        raise DatasetError(
            f"{pairs}: expected at least {ComparatorTask.batch} pairs to train with and one to measure by, "
            f"found {len(train)} and {len(held_out)}: give more, about 50"
        )
    task = ComparatorTask(
        model=Comparator(network),
        pairs=train,
        held_out=held_out,
        augmentation=augmentation or augmentation_for(train),
        seed=training.seed,
    )
    return fit(task, folder, training, describe={"model": "comparator", "config": asdict(network)})
