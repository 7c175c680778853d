"""Gives the training loop the batches of an autoencoder, and the losses and gradients of JP 7735801 B2.

L1 trains the encoder, L2 trains the encoder and the decoder, and L3 trains the decoder. The centre of the codes
is not a weight. Therefore one step on the weighted sum of the three losses gives the encoder and the decoder
exactly the gradients of the patent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge.errors import EdgeError
from trt_build.methods.autoencoder.jacobian import exact, forward_projected, reverse_projected
from trt_build.methods.autoencoder.network import Autoencoder
from trt_build.methods.good_parts.distance import distance_of

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
    #: Share of all epochs, at the start, with L2 alone. Then the centre is set to the mean of the codes.
    alone: float = 1 / 8
    #: What the centre does after these epochs. "moving" is a running mean of the codes.
    centre: Literal["fixed", "moving"] = "fixed"
    batch: int = 16


#: The weights that suit an autoencoder of pixels. Its code has more numbers, and each tells less.
PIXEL_LOSSES = LossConfig(pull=0.1, batch=8)


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
    """What the training loop needs: the network, its batches and losses, and what it sees of good pictures."""

    model: Autoencoder
    seen: Tensor  # (N, P, h, w) float32, what `Autoencoder.look` returns for the pictures to train with
    held_out: Tensor  # (N, P, h, w) float32, the same for other good pictures
    loss_config: LossConfig
    epochs: int  # of the whole training
    seed: int = 0

    def batches(self, epoch: int) -> list[Batch]:
        """Return the batches of an epoch. Before the first epoch with all losses, set the centre.

        The centre is then the mean code. In a training of few epochs this is the first one: the centre is that
        of the untrained encoder, as the patent allows.
        """
        if epoch >= int(self.loss_config.alone * self.epochs) and not self._centred:
            with torch.no_grad():
                self.model.centre.copy_(self.model.codes(self.seen).mean(0))
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.seen))
        batch = min(self.loss_config.batch, len(order))
        whole = torch.from_numpy(order[: len(order) // batch * batch])
        return [Batch(numbers, self._centred) for numbers in torch.split(whole, batch)]

    def loss(self, batch: Batch) -> Tensor:
        """Return the weighted sum of the three losses of a batch, as a scalar float32."""
        losses = self.losses(batch)
        return self.loss_config.pull * losses.l1 + losses.l2 + self.loss_config.smoothness * losses.l3

    def losses(self, batch: Batch) -> Losses:
        """Return the three losses of a batch, unweighted. If the centre is "moving", update the centre."""
        model, seen = self.model, self.seen[batch.numbers]
        code = model.encode(seen)
        again = model.decoder(code)
        l2 = distance_of(model.config.distance, (again - seen).square(), seen, again).mean()
        if not batch.centred:
            return Losses(torch.zeros(()), l2, torch.zeros(()))
        if self.loss_config.centre == "moving":
            model.centre.lerp_(code.detach().mean(0), MOVING)
        l1 = F.mse_loss(code, model.centre.expand_as(code))
        return Losses(l1, l2, self._l3())

    def settle(self, model: nn.Module) -> None:
        """Set the centre of the codes of `model`, and fit its norms and its lambdas.

        While the training has no centre yet, the centre is the mean code of `model`.
        """
        assert isinstance(model, Autoencoder)
        model.centre.copy_(self.model.centre if self._centred else model.codes(self.seen).mean(0))
        model.fit_scale(self.seen, self.held_out)

    def check(self, model: nn.Module) -> Mapping[str, float]:
        """Return figures of a settled `model`. Raise CollapseError if the training failed.

        The figures are the standard deviation of the codes, the norm of the decoder's Jacobian, and half the
        standard deviation of the held-out scores, whose mean is two.
        """
        assert isinstance(model, Autoencoder)
        deviation = float(model.codes(self.seen).std((0, 2, 3)).mean())
        slope = float(exact(lambda code: _answer(model, code), model.centre, by_place=True).sqrt())
        _refuse_collapse(deviation, slope)
        l1, l2 = model.two_scores(self.held_out)
        spread = float((l1 * model.lambdas[0] + l2 * model.lambdas[1]).std(correction=0) / 2)
        return {"deviation": deviation, "slope": slope, "spread": spread}

    @property
    def _centred(self) -> bool:
        """True if the centre was set. Until then all its numbers are zero."""
        return bool(self.model.centre.any())

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

    The squared norm of its Jacobian is a variance: the mean over all outputs if each number of a code has noise
    of variance one.
    """
    again: Tensor = model.decoder(code)
    scaled: Tensor = again.flatten(1) * again[0].numel() ** -0.5
    return scaled


def _refuse_collapse(deviation: float, slope: float) -> None:
    """Raise CollapseError if the codes do not vary, or if the decoder ignores or amplifies the codes."""
    if deviation < LEAST_DEVIATION:
        raise CollapseError(
            f"the codes of all pictures are the same: expected a deviation of at least {LEAST_DEVIATION}, "
            f"found {deviation:.2g}: lower --pull"
        )
    if not LEAST_SLOPE < slope < MOST_SLOPE:
        what = "ignores its codes" if slope <= LEAST_SLOPE else "amplifies codes that shrink"
        change = "lower" if slope <= LEAST_SLOPE else "raise"
        raise CollapseError(
            f"the decoder {what}: expected a Jacobian with a norm of {LEAST_SLOPE} to {MOST_SLOPE}, "
            f"found {slope:.2g}: {change} --smoothness-weight"
        )
