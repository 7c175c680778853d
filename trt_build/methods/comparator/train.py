"""A folder of master/board pairs into a trained comparator."""

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
from trt_build.methods.comparator.targets import extents_loss, heat_loss, targets_of
from trt_build.methods.loop import TrainConfig, fit
from trt_build.terminal.progress import counted

Batch = tuple[Tensor, Tensor, Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class ComparatorTask:
    """Crops of pairs, and the comparator's two losses on them."""

    model: Comparator
    pairs: Sequence[Pair]
    held_out: Sequence[Pair]
    augmentation: Augmentation
    batch: int = 16
    crops: int = 1  # of each pair, an epoch
    ahead: int = field(default_factory=lambda: 4 if usable_cores() > 1 else 0)  # batches made before their turn
    seed: int = 0

    def batches(self, epoch: int) -> Ahead[Batch]:
        crops = _Crops(self, epoch)
        return Ahead(crops.batch, crops.batches, self.ahead)

    def loss(self, batch: Batch) -> Tensor:
        master, board, heat, sides = batch
        count = len(master)
        both = torch.cat((master, board)).contiguous(memory_format=torch.channels_last)
        features = self.model.encode(both)
        logits, extents = self.model.decode([f[:count] for f in features], [f[count:] for f in features])
        with torch.autocast("cpu", enabled=False):
            return heat_loss(logits.float(), heat) + 2.0 * extents_loss(extents.float(), sides)

    def check(self, model: nn.Module) -> Mapping[str, float]:
        found = find_all(torch_judge(model), counted(self.held_out, "judging boards kept from training"))
        result = figures(self.held_out, found, cut=choose_cut(self.held_out, found))
        return {name: result[name] for name in ("ap_pooled", "f", "map33", "map50", "cut")}


def torch_judge(model: nn.Module) -> Judge:
    """The comparator in training's own precision as what `evaluate` can ask."""

    @torch.inference_mode()
    def judge(master: Picture, board: Picture) -> tuple[FloatArray, FloatArray]:
        images = [torch.from_numpy(image)[None, None] for image in (master, board)]
        map_, extents = model(*images)
        return map_[0].numpy(), extents[0].numpy()

    return judge


class _Crops:
    """The crops of one epoch in their shuffled order; each depends on seed, epoch and its number only."""

    def __init__(self, task: ComparatorTask, epoch: int) -> None:
        self._task, self._epoch = task, epoch
        self.batches = len(task.pairs) * task.crops // task.batch
        order = np.random.default_rng((task.seed, epoch)).permutation(len(task.pairs) * task.crops)
        self._order = order % len(task.pairs)

    def batch(self, number: int) -> Batch:
        """Masters, boards `(B, 1, h, w)` uint8; maps `(B, K, h/4, w/4)`, sides `(B, 4, h/4, w/4)` float32."""
        size = self._task.batch
        crops = [self._crop(index) for index in range(number * size, (number + 1) * size)]
        master, board, heat, sides = (torch.from_numpy(np.stack(each)) for each in zip(*crops, strict=True))
        return master, board, heat, sides

    def _crop(self, index: int) -> tuple[Any, ...]:
        task = self._task
        rng = np.random.default_rng((task.seed, self._epoch, index))
        master, board, boxes, kinds = augment(task.pairs[self._order[index]], task.augmentation, rng)
        heat, sides = targets_of(boxes, kinds, board.shape, len(KINDS), STRIDE)
        return master[None], board[None], heat, sides


def train_comparator(
    pairs: Path,
    folder: Path,
    *,
    network: ComparatorConfig,
    training: TrainConfig,
    augmentation: Augmentation | None = None,
) -> int:
    """Trains on the pairs that `split` gives, in `folder`; epochs done. A run that was stopped goes on.

    Without `augmentation` the pictures decide which they get.
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
