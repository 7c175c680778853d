"""Trains a PFM on a folder of good parts; the backbones' features are computed once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trt_build.backbones.open import open_backbone
from trt_build.data.parts import LabelledPart, pictures, read_parts, split_good
from trt_build.methods.loop import TrainConfig, fit
from trt_build.methods.pfm.network import PFM, Level, Pair, PFMConfig
from trt_build.terminal.progress import counted

TRAINING = TrainConfig(epochs=10, rate=3e-3, warm_up=0.05, average=0.98, check_every=10)
#: Pictures in a batch of the backbones.
AT_ONCE = 8


@dataclass(frozen=True, kw_only=True)
class PFMTask:
    """The whitened features of good parts, and the error of the projections at places of them.

    `seen` is a pair of features `(N, C, h, w)` float16 for each level; `held_out` has the same for each batch.
    """

    model: PFM
    seen: Sequence[Pair]
    held_out: Sequence[Sequence[Pair]]
    places: int = 1024  # places of each level in a step
    steps: int = 50  # steps in an epoch
    seed: int = 0

    def batches(self, epoch: int) -> Places:
        return Places(task=self, epoch=epoch)

    def loss(self, batch: list[Tensor]) -> Tensor:
        """Return the sum of the levels' losses at places `(P,)` of each level, a scalar."""
        losses = [
            _loss(level, pair, places)
            for level, pair, places in zip(self.model.levels, self.seen, batch, strict=True)
        ]
        return torch.stack(losses).sum()

    def check(self, model: nn.Module) -> Mapping[str, float]:
        """Set the scale of map and score; return the share of the features' variance that is not explained."""
        assert isinstance(model, PFM)
        model.fit_scale(self.held_out)
        return {
            f"unexplained_{stride}": float(_unexplained(level, [pairs[number] for pairs in self.held_out]))
            for number, (stride, level) in enumerate(zip(model.config.strides, model.levels, strict=True))
        }


@dataclass(frozen=True, kw_only=True)
class Places:
    """The batches of an epoch: for each level, numbers `(P,)` int64 of places of all pictures."""

    task: PFMTask
    epoch: int

    def __len__(self) -> int:
        return self.task.steps

    def __iter__(self) -> Iterator[list[Tensor]]:
        task = self.task
        rng = np.random.default_rng((task.seed, self.epoch))
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
    places: int = 1024,
    steps: int = 50,
) -> int:
    """Train on the good parts that `split_good` gives, in `folder`; return the epochs done.

    A stopped run goes on.
    `weights` are the files of both backbones' weights; without them, `open_backbone` looks for the files.
    """
    torch.manual_seed(training.seed)
    good = split_good(read_parts(parts, mixed_sizes=mixed_sizes).train)
    first, second = weights or (None, None)
    model = PFM(network, (open_backbone(network.first, first), open_backbone(network.second, second)))
    images = _batches(good.fit, network)
    model.fit_features(counted(images, "learning what is usual", unit="step"))
    shown = counted(images, "looking at pictures", unit="step")
    seen = _together([_look(model, batch) for batch in shown])
    held_out = [_look(model, batch) for batch in _batches(good.validation, network)]
    task = PFMTask(model=model, seen=seen, held_out=held_out, places=places, steps=steps, seed=training.seed)
    return fit(task, folder, training, describe={"model": "pfm", "config": asdict(network)})


def _loss(level: nn.Module, seen: Pair, places: Tensor) -> Tensor:
    """Return the sum of both directions' mean squared errors at places `(P,)`, a scalar."""
    assert isinstance(level, Level)
    first, second = (_at(features, places).float() for features in seen)
    told, other = level.project((first, second), level.codes_at(places % seen[0][0, 0].numel()))
    return F.mse_loss(told.float(), first) + F.mse_loss(other.float(), second)


def _at(features: Tensor, places: Tensor) -> Tensor:
    """Return features `(1, C, P, 1)` of places `(P,)`, which are numbered picture by picture, row by row."""
    rows = features.shape[2] * features.shape[3]
    return features.flatten(2)[places // rows, :, places % rows].T[None, ..., None]


def _unexplained(level: nn.Module, seen: Sequence[Pair]) -> Tensor:
    """Return the unexplained share of the whitened features' variance, the mean of both directions."""
    assert isinstance(level, Level)
    ways = [way for pair in seen for way in zip(level.tell(pair), pair, strict=True)]
    return torch.stack([F.mse_loss(told, there.float()) for told, there in ways]).mean()


def _batches(parts: Sequence[LabelledPart], network: PFMConfig) -> list[Tensor]:
    return list(torch.split(torch.from_numpy(pictures(parts, network.spec)), AT_ONCE))


@torch.no_grad()
def _look(model: PFM, batch: Tensor) -> list[Pair]:
    return [(first.half(), second.half()) for first, second in model.look(batch)]


def _together(seen: Sequence[Sequence[Pair]]) -> list[Pair]:
    """Return a pair of features of all parts for each level, of pairs for each batch and level."""
    return [
        (torch.cat([first for first, _ in pairs]), torch.cat([second for _, second in pairs]))
        for pairs in zip(*seen, strict=True)
    ]
