"""Trains a PFM network on a folder of good parts. The backbones' features are computed only once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trt_build.backbones.open import open_backbone
from trt_build.data.good import read_good
from trt_build.data.parts import LabelledPart, pictures
from trt_build.methods.good_parts.view import view_of
from trt_build.methods.loop import TrainConfig, fit
from trt_build.methods.optimiser import Group
from trt_build.methods.pfm.level import Level, Pair
from trt_build.methods.pfm.network import PFM, PFMConfig
from trt_build.terminal.progress import counted

TRAINING = TrainConfig(epochs=10, rate=3e-3, warm_up=0.05, average=0.98, check_every=10)
#: The training of the PFM paper: the same rate all the time, no mean of weights, and the last epoch is kept.
AS_PUBLISHED = TrainConfig(
    epochs=200,
    optimiser="adam",
    rate=3e-3,
    decay=1e-5,
    warm_up=0,
    cool_down=0,
    clip=math.inf,
    average=0,
    check_every=10,
    bf16=False,
)
#: The training of the PEFM paper, which adds positions.
AS_PUBLISHED_POSITION = replace(AS_PUBLISHED, rate=3e-4)
#: Share of the rate at each stride in the PFM paper.
RATES = {4: 1.0, 8: 0.1, 16: 0.1}
#: Number of whole pictures in a step of the PFM paper, and of the PEFM paper.
WHOLE, WHOLE_POSITION = 8, 16
#: Number of pictures that the backbones process at once.
AT_ONCE = 8


def usual_training(network: PFMConfig) -> TrainConfig:
    """Return the settings of a training if nothing else is asked for: ours, or those of the paper."""
    if not network.as_published:
        return TRAINING
    return AS_PUBLISHED_POSITION if network.position else AS_PUBLISHED


@dataclass(frozen=True, kw_only=True)
class PFMTask:
    """Gives cells of good parts' features, and the loss at these cells, to the training loop.

    `seen` has both backbones' features, `(N, C, h, w)` float16, for each stride, as `PFM.whiten` gives them.
    `held_out` has such features of other good parts, which are not trained with: a list of strides for each
    batch of parts.
    """

    model: PFM
    seen: Sequence[Pair]
    held_out: Sequence[Sequence[Pair]]
    places: int = 1024  # random cells of each stride in a step
    steps: int = 50  # steps in an epoch
    #: Pictures whose cells are all taken in a step, in an epoch through all pictures. If 0, cells are random.
    whole: int = 0
    seed: int = 0

    def batches(self, epoch: int) -> Places:
        return Places(task=self, epoch=epoch)

    def loss(self, batch: list[Tensor]) -> Tensor:
        """Return the error of the predictions at a batch's cells, summed over all strides, as a scalar."""
        losses = [
            _loss(level, pair, places)
            for level, pair, places in zip(self.model.levels, self.seen, batch, strict=True)
        ]
        return torch.stack(losses).sum()

    def settle(self, model: nn.Module) -> None:
        """Set the scale of map and score on good parts that are not trained with."""
        assert isinstance(model, PFM)
        model.fit_scale(self.held_out)

    def check(self, model: nn.Module) -> Mapping[str, float]:
        """Return the share of the features' variance that is not predicted, on parts not trained with."""
        assert isinstance(model, PFM)
        return {
            f"unexplained_{stride}": float(_unexplained(level, [pairs[number] for pairs in self.held_out]))
            for number, (stride, level) in enumerate(zip(model.config.strides, model.levels, strict=True))
        }


@dataclass(frozen=True, kw_only=True)
class Places:
    """The batches of one epoch. A batch holds, for each stride, the indices of its cells, `(P,)` int64."""

    task: PFMTask
    epoch: int

    def __len__(self) -> int:
        task = self.task
        return math.ceil(len(task.seen[0][0]) / task.whole) if task.whole else task.steps

    def __iter__(self) -> Iterator[list[Tensor]]:
        task = self.task
        rng = np.random.default_rng((task.seed, self.epoch))
        if task.whole:
            order = torch.from_numpy(rng.permutation(len(task.seen[0][0])))
            for some in torch.split(order, task.whole):
                yield [_all_places(some, first[0, 0].numel()) for first, _ in task.seen]
            return
        counts = [first[:, 0].numel() for first, _ in task.seen]
        for _ in range(task.steps):
            yield [torch.from_numpy(rng.integers(count, size=task.places)) for count in counts]


def train_pfm(
    parts: Path,
    folder: Path,
    *,
    network: PFMConfig,
    training: TrainConfig = TRAINING,
    weights: tuple[Path, Path] | None = None,
    mixed_sizes: bool = False,
    tiles: tuple[int, int] = (1, 1),
    places: int = 1024,
    steps: int = 50,
) -> int:
    """Train a PFM network on the good parts in `parts`, and return how many epochs it has been trained for.

    Keep the checkpoint in `folder`, and continue from it if it exists. `weights` are the files of both
    backbones' weights. If they are not given, `open_backbone` looks for them. `tiles`, columns and rows, are
    the inputs into which each picture is cut.
    """
    torch.manual_seed(training.seed)
    good = read_good(parts, mixed_sizes=mixed_sizes, tiles=tiles)
    first, second = weights or (None, None)
    model = PFM(network, (open_backbone(network.first, first), open_backbone(network.second, second)))
    raw = _look(model, counted(_batches(good.fit, network), "looking at pictures", unit="step"))
    model.fit_features(raw)
    seen = _together([_whiten(model, features) for features in raw])
    held_out = [_whiten(model, features) for features in _look(model, _batches(good.validation, network))]
    whole = (WHOLE_POSITION if network.position else WHOLE) if network.as_published else 0
    task = PFMTask(
        model=model,
        seen=seen,
        held_out=held_out,
        places=places,
        steps=steps,
        whole=whole,
        seed=training.seed,
    )
    describe = {"model": "pfm", "config": asdict(network)} | view_of(good, network.spec)
    return fit(task, folder, training, describe=describe, groups=_groups(model))


def _loss(level: nn.Module, seen: Pair, places: Tensor) -> Tensor:
    """Return the mean squared error at the cells `places`, `(P,)`, summed over both directions, as a scalar."""
    assert isinstance(level, Level)
    first, second = (_at(features, places).float() for features in seen)
    told, other = level.project((first, second), level.codes_at(places % seen[0][0, 0].numel()))
    return F.mse_loss(told.float(), first) + F.mse_loss(other.float(), second)


def _groups(model: PFM) -> list[Group]:
    """Return the parts that learn by themselves: as published, each stride; otherwise all strides together."""
    if not model.config.as_published:
        return [Group(module=model.levels)]
    shares = {stride: 1.0 for stride in RATES} if model.config.position else RATES
    return [
        Group(module=level, rate=shares[stride])
        for stride, level in zip(model.config.strides, model.levels, strict=True)
    ]


def _all_places(numbers: Tensor, cells: int) -> Tensor:
    """Return the indices of all cells, `(P,)`, of the pictures with these `numbers`, each of `cells` cells."""
    return (numbers[:, None] * cells + torch.arange(cells)).flatten()


def _at(features: Tensor, places: Tensor) -> Tensor:
    """Return features at P cells as `(1, C, P, 1)`. Cells are numbered picture by picture, row by row."""
    rows = features.shape[2] * features.shape[3]
    return features.flatten(2)[places // rows, :, places % rows].T[None, ..., None]


def _unexplained(level: nn.Module, seen: Sequence[Pair]) -> Tensor:
    """Return the share of the features' variance that is not predicted, averaged over both directions."""
    assert isinstance(level, Level)
    ways = [way for pair in seen for way in zip(level.tell(pair), pair, strict=True)]
    return torch.stack([F.mse_loss(told, there.float()) / _variance(there) for told, there in ways]).mean()


def _variance(features: Tensor) -> Tensor:
    """Return the variance of features, `(N, C, h, w)`, averaged over the channels, as a scalar."""
    return features.float().transpose(0, 1).flatten(1).var(1, correction=0).mean()


def _batches(parts: Sequence[LabelledPart], network: PFMConfig) -> list[Tensor]:
    return list(torch.split(torch.from_numpy(pictures(parts, network.spec)), AT_ONCE))


@torch.no_grad()
def _look(model: PFM, batches: Iterable[Tensor]) -> list[list[Pair]]:
    """Return both backbones' features of pictures, `(N, 3, H, W)` uint8 a batch, by stride, as float16."""
    return [[(first.half(), second.half()) for first, second in model.look(batch)] for batch in batches]


@torch.no_grad()
def _whiten(model: PFM, raw: Sequence[Pair]) -> list[Pair]:
    return [(first.half(), second.half()) for first, second in model.whiten(raw)]


def _together(seen: Sequence[Sequence[Pair]]) -> list[Pair]:
    """Join the features of all batches. Return a pair of features of all parts for each stride."""
    return [
        (torch.cat([first for first, _ in pairs]), torch.cat([second for _, second in pairs]))
        for pairs in zip(*seen, strict=True)
    ]
