"""Trains an autoencoder on a folder of good parts, with the losses and the gradients of JP 7735801 B2.

L1 trains the encoder, L2 trains the encoder and the decoder, and L3 trains the decoder. The centre of the codes
is not a weight. Therefore one step on the weighted sum of the three losses gives the encoder and the decoder
exactly the gradients of the patent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge.errors import EdgeError
from trt_build.backbones.open import open_backbone
from trt_build.data.good import read_good
from trt_build.data.parts import LabelledPart, pictures
from trt_build.methods.autoencoder.jacobian import exact, forward_projected, reverse_projected
from trt_build.methods.autoencoder.network import Autoencoder, AutoencoderConfig
from trt_build.methods.good_parts.distance import distance_of, ssim_distance
from trt_build.methods.loop import TrainConfig, fit
from trt_build.terminal.progress import counted

TRAINING = TrainConfig(epochs=80, rate=3e-3, warm_up=0.05, check_every=10, bf16=False)
#: Smallest standard deviation of the numbers of a code; about one where training goes well.
LEAST_DEVIATION = 0.01
#: Range of the norm of the decoder's Jacobian at the centre; about one where training goes well.
LEAST_SLOPE, MOST_SLOPE = 0.01, 100.0
#: Share of a step's codes in a moving centre.
MOVING = 0.01


class CollapseError(EdgeError, ArithmeticError):
    """The codes do not vary, or the decoder ignores or amplifies them. The text says what to change."""


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """The weights of the losses, and how the centre of the codes and the decoder's Jacobian are computed."""

    #: Weight of L1; the weight of L2 is one, and both are means of squares of numbers of about one.
    pull: float = 1.0
    smoothness: float = 0.01  # weight of L3: the same as noise of this variance on the codes would have
    #: How L3 is computed; with "none", L3 is zero.
    jacobian: Literal["none", "exact", "forward", "reverse"] = "forward"
    directions: int = 2  # random directions in each step, if L3 is computed by projection
    alone: int = 10  # epochs with L2 alone; after them, the centre is set to the mean of the codes
    #: What the centre does after these epochs. "moving" is a running mean of the codes.
    centre: Literal["fixed", "moving"] = "fixed"
    batch: int = 16


class Batch(NamedTuple):
    """One training batch: indices of pictures as `(B,)` int64, and whether the codes' centre is set already."""

    numbers: Tensor
    centred: bool


class Losses(NamedTuple):
    """The three losses of the patent, each as a scalar. `l1` and `l3` are zero until the centre is set.

    `l1` is the distance of the codes from their centre, `l2` the error of the reconstruction, and `l3` the
    squared norm of the decoder's Jacobian, which is small if the decoder is smooth.
    """

    l1: Tensor
    l2: Tensor
    l3: Tensor


@dataclass(frozen=True, kw_only=True)
class AutoencoderTask:
    """What the training loop needs: the network, its batches and losses, and features of good pictures."""

    model: Autoencoder
    seen: Tensor  # (N, P, h, w) float32, features of the pictures to train with
    held_out: Tensor  # (N, P, h, w) float32, features of other good pictures
    loss_config: LossConfig
    seed: int = 0

    def batches(self, epoch: int) -> list[Batch]:
        """Return the batches of an epoch. For epoch number `alone`, first set the centre to the mean code."""
        loss_config = self.loss_config
        if epoch == loss_config.alone:
            with torch.no_grad():
                self.model.centre.copy_(self.model.encode(self.seen).mean(0))
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.seen))
        batch = min(loss_config.batch, len(order))
        whole = torch.from_numpy(order[: len(order) // batch * batch])
        return [Batch(numbers, epoch >= loss_config.alone) for numbers in torch.split(whole, batch)]

    def loss(self, batch: Batch) -> Tensor:
        """Return the weighted sum of the three losses of a batch, as a scalar float32."""
        losses = self.losses(batch)
        return self.loss_config.pull * losses.l1 + losses.l2 + self.loss_config.smoothness * losses.l3

    def losses(self, batch: Batch) -> Losses:
        """Return the three losses of a batch, unweighted. If the centre is "moving", update the centre."""
        model, seen = self.model, self.seen[batch.numbers]
        code = model.encode(seen)
        again = model.decoder(code)
        l2 = distance_of(model.config.distance, F.mse_loss(again, seen), ssim_distance(seen, again).mean())
        if not batch.centred:
            return Losses(torch.zeros(()), l2, torch.zeros(()))
        if self.loss_config.centre == "moving":
            model.centre.lerp_(code.detach().mean(0), MOVING)
        l1 = F.mse_loss(code, model.centre.expand_as(code))
        return Losses(l1, l2, self._l3())

    def settle(self, model: nn.Module) -> None:
        """Copy the centre of the codes to `model`, and fit its norms and lambdas."""
        assert isinstance(model, Autoencoder)
        model.centre.copy_(self.model.centre)
        model.fit_scale(self.seen, self.held_out)

    def check(self, model: nn.Module) -> Mapping[str, float]:
        """Return figures of a settled `model`. Raise CollapseError if the training failed.

        The figures are the standard deviation of the codes, the norm of the decoder's Jacobian, and half the
        standard deviation of the held-out scores, whose mean is two.
        """
        assert isinstance(model, Autoencoder)
        deviation = float(model.encode(self.seen).std((0, 2, 3)).mean())
        slope = float(exact(lambda code: _answer(model, code), model.centre, by_place=True).sqrt())
        _refuse_collapse(deviation, slope)
        l1, l2, _ = model.judge(self.held_out)
        spread = float((l1 * model.lambdas[0] + l2 * model.lambdas[1]).std() / 2)
        return {"deviation": deviation, "slope": slope, "spread": spread}

    def _l3(self) -> Tensor:
        """Return the squared norm of the decoder's Jacobian at the centre, or zero if it is turned off."""

        def decode(code: Tensor) -> Tensor:
            return _answer(self.model, code)

        centre, count = self.model.centre, self.loss_config.directions
        if self.loss_config.jacobian == "exact":
            return exact(decode, centre, by_place=True)
        if self.loss_config.jacobian == "forward":
            return forward_projected(decode, centre, count=count)
        if self.loss_config.jacobian == "reverse":
            return reverse_projected(decode, centre, count=count)
        return torch.zeros(())


def _answer(model: Autoencoder, code: Tensor) -> Tensor:
    """Return the decoder's output as `(N, numbers)`, scaled so that the size of a picture does not matter.

    The squared norm of its Jacobian is a variance: the mean over all features if each number of a code has
    noise of variance one.
    """
    again: Tensor = model.decoder(code)
    scaled: Tensor = again.flatten(1) * again[0].numel() ** -0.5
    return scaled


def _refuse_collapse(deviation: float, slope: float) -> None:
    """Raise CollapseError if the codes do not vary, or if the decoder ignores or amplifies the codes."""
    if deviation < LEAST_DEVIATION:
        raise CollapseError(
            f"the codes of all pictures are the same: expected a deviation of at least {LEAST_DEVIATION}, "
            f"found {deviation:.2g}: lower `pull`"
        )
    if not LEAST_SLOPE < slope < MOST_SLOPE:
        what = "ignores its codes" if slope <= LEAST_SLOPE else "amplifies codes that shrink"
        change = "lower" if slope <= LEAST_SLOPE else "raise"
        raise CollapseError(
            f"the decoder {what}: expected a Jacobian with a norm of {LEAST_SLOPE} to {MOST_SLOPE}, "
            f"found {slope:.2g}: {change} `smoothness`"
        )


def train_autoencoder(
    parts: Path,
    folder: Path,
    *,
    network: AutoencoderConfig,
    training: TrainConfig = TRAINING,
    loss_config: LossConfig | None = None,
    weights: Path | None = None,
    mixed_sizes: bool = False,
) -> int:
    """Train on the good parts in the folder `parts`. Return the number of finished epochs.

    Write the checkpoint to `folder`; if `folder` has a checkpoint, continue from it. `weights` is the file of
    the backbone's weights. Without `weights`, `open_backbone` searches for the file.
    """
    torch.manual_seed(training.seed)
    good = read_good(parts, mixed_sizes=mixed_sizes)
    model = Autoencoder(network, open_backbone(network.backbone, weights)).eval()
    seen = model.fit_features(_look(model, good.fit))
    held_out = _look(model, good.validation)
    task = AutoencoderTask(
        model=model, seen=seen, held_out=held_out, loss_config=loss_config or LossConfig(), seed=training.seed
    )
    return fit(task, folder, training, describe={"model": "autoencoder", "config": asdict(network)})


@torch.inference_mode()
def _look(model: Autoencoder, parts: list[LabelledPart]) -> Tensor:
    """Return the features of the parts' pictures as `(N, P, h, w)` float32, and show the progress."""
    shown = counted(parts, "looking at pictures")
    return torch.cat([model.look(torch.from_numpy(pictures([part], model.config.spec))) for part in shown])
