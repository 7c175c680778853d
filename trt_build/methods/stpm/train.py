"""Trains the students of an STPM network on good parts. The teachers' features are computed only once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from trt_build.backbones.open import open_backbone
from trt_build.data.good import read_good
from trt_build.data.parts import LabelledPart, pictures
from trt_build.methods.good_parts.view import view_of
from trt_build.methods.loop import TrainConfig, fit
from trt_build.methods.optimiser import Group
from trt_build.methods.stpm.network import STPM, Seen, STPMConfig
from trt_build.methods.stpm.pairs import Pairs
from trt_build.methods.stpm.pasted import with_pasted
from trt_build.terminal.progress import counted

#: The running mean of the weights covers few steps, because a training has only a few hundred.
TRAINING = TrainConfig(epochs=40, rate=2e-3, decay=1e-4, average=0.95, check_every=10)
#: The training of both papers: the same rate all the time, no mean of weights, and the best epoch is kept.
AS_PUBLISHED = TrainConfig(
    epochs=100,
    optimiser="sgd",
    rate=0.4,
    decay=1e-4,
    warm_up=0,
    cool_down=0,
    average=0,
    clip=math.inf,
    keep_lowest="product",
    bf16=False,
)
#: Number of pictures in a batch, and in a batch of the papers.
BATCH, BATCH_AS_PUBLISHED = 16, 32
#: Number of pictures that the teachers process at once.
AT_ONCE = 8
#: Copies of each held-out picture with a pasted defect.
COPIES = 3
#: With so few good parts the students learn too little, and other methods find more (benchmarks/few_parts.py).
FEW = 50


@dataclass(frozen=True, kw_only=True)
class STPMTask:
    """Gives pictures of good parts, and the teachers' features of them, to the training loop in batches.

    All features are float16. `held_out` has pictures that are not trained with, and `defective` has copies of
    them with pasted defects if there is a second pair.
    """

    model: STPM
    seen: Seen
    held_out: list[Seen]
    defective: list[Seen]
    batch: int = BATCH
    seed: int = 0

    def batches(self, epoch: int) -> list[Tensor]:
        """Return an epoch's batches. Each batch holds the indices of its pictures, `(B,)` int64."""
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.seen.image))
        batch = min(self.batch, len(order))
        return [torch.from_numpy(order[i : i + batch]) for i in range(0, len(order) - batch + 1, batch)]

    def loss(self, batch: Tensor) -> Tensor:
        """Return the students' errors on a batch, summed over all teachers and strides, as a scalar."""
        image, targets, deepest = self.seen
        return self.model.loss(
            Seen(
                image[batch].contiguous(memory_format=torch.channels_last),
                [target[batch] for target in targets],
                None if deepest is None else deepest[batch],
            )
        )

    def settle(self, model: nn.Module) -> None:
        """Set the scale of map and score, and the weight of a second pair, on held-out parts."""
        assert isinstance(model, STPM)
        model.fit_scale(self.held_out, self.defective)

    def check(self, model: nn.Module) -> Mapping[str, float]:
        """Return the mean distance and the mean score of good parts that are not trained with.

        As published, also return the cube root of the mean product of their distances. Otherwise, with a second
        pair, also return its weight.
        """
        assert isinstance(model, STPM)
        distances = [model.distances(seen) for seen in self.held_out]
        combined = [model.combine(maps) for maps in distances]
        figures = {
            "unlike": torch.cat([map_.flatten() for maps in distances for map_ in maps]).mean(),
            "score": torch.cat([score for score, _ in combined]).mean(),
        }
        if model.config.as_published:
            products = torch.cat([map_.flatten() for _, map_ in combined]).double() ** 3
            figures["product"] = products.mean() ** (1 / 3)
        if isinstance(model.combine, Pairs):
            figures["second_weight"] = model.combine.weight
        return {name: float(figure) for name, figure in figures.items()}


def train_stpm(
    data: Path,
    folder: Path,
    *,
    network: STPMConfig,
    training: TrainConfig = TRAINING,
    mixed_sizes: bool = False,
    tiles: tuple[int, int] = (1, 1),
) -> int:
    """Train an STPM network on the good parts in `data`, and return how many epochs it has been trained for.

    Keep the checkpoint in `folder`, and continue from it if it exists. `open_backbone` looks for the weights of
    the teachers. `tiles`, columns and rows, are the inputs into which each picture is cut.
    """
    good = read_good(data, mixed_sizes=mixed_sizes, tiles=tiles, few=FEW)
    names = [network.teacher] if network.second is None else [network.teacher, network.second]
    teachers = [open_backbone(name) for name in names]
    # After the teachers, whose weights are random until they are read: a second one changes no student.
    torch.manual_seed(training.seed)
    model = STPM(network, teachers).eval()
    images = _batches(good.fit, network)
    model.fit_features(counted(images, "learning what is usual", unit="step"))
    held_out = _batches(good.validation, network)
    copies = [with_pasted(batch, seed) for seed in range(COPIES) for batch in held_out]
    task = STPMTask(
        model=model,
        seen=_together(_look(model, batch) for batch in counted(images, "looking at pictures", unit="step")),
        held_out=[_look(model, batch) for batch in held_out],
        defective=[_look(model, batch) for batch in copies] if isinstance(model.combine, Pairs) else [],
        batch=BATCH_AS_PUBLISHED if network.as_published else BATCH,
        seed=training.seed,
    )
    students = [Group(module=student) for student in (model.student, model.restorer) if student is not None]
    describe = {"model": "stpm", "config": asdict(network)} | view_of(good, network.spec)
    return fit(task, folder, training, describe=describe, groups=students)


@torch.no_grad()
def _look(model: STPM, batch: Tensor) -> Seen:
    """Return what the teachers see in a batch of pictures, as float16."""
    image, targets, deepest = model.look(batch)
    return Seen(image, [target.half() for target in targets], None if deepest is None else deepest.half())


def _together(seen: Iterable[Seen]) -> Seen:
    """Join what the teachers see in all batches."""
    images, targets, deepest = zip(*seen, strict=True)
    joined = [torch.cat(level) for level in zip(*targets, strict=True)]
    return Seen(torch.cat(images), joined, None if deepest[0] is None else torch.cat(deepest))


def _batches(parts: Sequence[LabelledPart], network: STPMConfig) -> list[Tensor]:
    return list(torch.split(torch.from_numpy(pictures(parts, network.spec)), AT_ONCE))
