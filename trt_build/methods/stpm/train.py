"""Trains the students of an STPM network on good parts. The teachers' features are computed only once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from trt_build.backbones.open import open_backbone
from trt_build.data.good import read_good
from trt_build.data.parts import LabelledPart, pictures
from trt_build.methods.loop import TrainConfig, fit
from trt_build.methods.stpm.network import STPM, STPMConfig
from trt_build.terminal.progress import counted

#: The running mean of the weights covers few steps, because a training has only a few hundred.
TRAINING = TrainConfig(epochs=40, rate=2e-3, decay=1e-4, average=0.95, check_every=10)
#: Number of pictures that the teachers process at once.
AT_ONCE = 8


@dataclass(frozen=True, kw_only=True)
class STPMTask:
    """Gives pictures of good parts, and the teachers' features of them, to the training loop in batches.

    `seen` has whitened features, `(N, C, h, w)` float16, for each teacher and stride. `deepest` has the first
    teacher's deepest features if there is a second student. `held_out` are pictures that are not trained with.
    """

    model: STPM
    images: Tensor
    seen: list[Tensor]
    deepest: Tensor | None
    held_out: Tensor
    batch: int = 16
    seed: int = 0

    def batches(self, epoch: int) -> list[Tensor]:
        """Return an epoch's batches. Each batch holds the indices of its pictures, `(B,)` int64."""
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.images))
        batch = min(self.batch, len(order))
        return [torch.from_numpy(order[i : i + batch]) for i in range(0, len(order) - batch + 1, batch)]

    def loss(self, batch: Tensor) -> Tensor:
        """Return the students' mean squared error on a batch, summed over all strides, as a scalar."""
        seen = [level[batch].float() for level in self.seen]
        deepest = None if self.deepest is None else self.deepest[batch].float()
        images = self.images[batch].contiguous(memory_format=torch.channels_last)
        expected = self.model.expect(images, seen, deepest)
        errors = [(a - b.float()).square().mean() for a, b in zip(seen, expected, strict=True)]
        return torch.stack(errors).sum()

    def settle(self, model: nn.Module) -> None:
        """Set the scale of map and score on good parts that are not trained with."""
        assert isinstance(model, STPM)
        model.fit_scale(_batches(self.held_out))

    def check(self, model: nn.Module) -> Mapping[str, float]:
        """Return the mean distance and the mean score of good parts that are not trained with."""
        assert isinstance(model, STPM)
        batches = _batches(self.held_out)
        unlike = [torch.cat([level.flatten() for level in model.maps(image)]).mean() for image in batches]
        scores = torch.cat([model(image)[0] for image in batches])
        return {"unlike": float(torch.stack(unlike).mean()), "score": float(scores.mean())}


def train_stpm(
    data: Path,
    folder: Path,
    *,
    network: STPMConfig,
    training: TrainConfig = TRAINING,
    mixed_sizes: bool = False,
) -> int:
    """Train an STPM network on the good parts in `data`, and return how many epochs it has been trained for.

    Keep the checkpoint in `folder`, and continue from it if it exists. `open_backbone` looks for the weights of
    the teachers.
    """
    torch.manual_seed(training.seed)
    good = read_good(data, mixed_sizes=mixed_sizes)
    names = [network.teacher] if network.second is None else [network.teacher, network.second]
    model = STPM(network, [open_backbone(name) for name in names]).eval()
    images, held_out = _pictures(good.fit, network), _pictures(good.validation, network)
    model.fit_features(counted(_batches(images), "learning what is usual", unit="step"))
    seen, deepest = _seen(model, images)
    task = STPMTask(
        model=model, images=images, seen=seen, deepest=deepest, held_out=held_out, seed=training.seed
    )
    return fit(task, folder, training, describe={"model": "stpm", "config": asdict(network)})


def _pictures(parts: Sequence[LabelledPart], network: STPMConfig) -> Tensor:
    return torch.from_numpy(pictures(parts, network.spec))


@torch.no_grad()
def _seen(model: STPM, images: Tensor) -> tuple[list[Tensor], Tensor | None]:
    """Return the teachers' features of all pictures, and the deepest features if needed, all as float16."""
    levels: list[list[Tensor]] = []
    deepest: list[Tensor] = []
    for batch in counted(_batches(images), "looking at pictures", unit="step"):
        seen, deep = model.look(batch)
        levels.append([level.half() for level in seen])
        deepest += [] if deep is None else [deep.half()]
    joined = [torch.cat(level) for level in zip(*levels, strict=True)]
    return joined, torch.cat(deepest) if deepest else None


def _batches(images: Tensor) -> list[Tensor]:
    return [images[i : i + AT_ONCE] for i in range(0, len(images), AT_ONCE)]
