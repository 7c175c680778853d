"""Trains a matcher on drawings and photos of products.

The matcher has one of two networks, called branches. The residual branch trains on batches with two pictures of
each of many products, most of which look alike. The loss has two terms: how badly a picture finds its partner
among all others (InfoNCE, van den Oord et al., arXiv 1807.03748), and how badly pairs are judged to be of one
product or of two. The source branch trains as in Han (2022): on single pairs, half of one product and half of
two, by cross-entropy with the cosine itself as the logit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trt_build.data.products import Pictures
from trt_build.figures.matching import Embed, Pairs, Vectors, equal_error, pairs_by_group, picture_pairs
from trt_build.methods.loop import TrainConfig, fit
from trt_build.methods.matcher.batches import RedrawnBatches, Sampling, SinglePairs, choose_pairs
from trt_build.methods.matcher.network import Matcher, MatcherConfig

TRAINING = TrainConfig(epochs=40)
LETTERS_TRAINING = TrainConfig(epochs=20, rate=3e-3, cool_down=0.8, check_every=5)
#: Han (2022): 200 epochs, stopped from epoch 150 on if the test loss is flat. Optimiser and rate are not stated
#: there; Adam with 1e-4, unchanged during the training and without decay or averaging, is assumed.
AS_PUBLISHED = TrainConfig(
    epochs=200,
    rate=1e-4,
    decay=0.0,
    warm_up=0.0,
    cool_down=0.0,
    average=0.0,
    keep_lowest="test_loss",
    stop_from=150,
    bf16=False,
)


@dataclass(frozen=True, kw_only=True)
class MatcherTask:
    """What the training loop needs: the network, pairs of randomly changed pictures, and the loss."""

    model: Matcher
    pictures: Pictures
    held_out: Pictures
    sampling: Sampling
    seed: int = 0

    def batches(self, epoch: int) -> RedrawnBatches:
        """Return the batches of an epoch. The random changes depend only on the seed and the epoch."""
        chosen = choose_pairs(self.pictures, self.sampling, np.random.default_rng((self.seed, epoch)))
        seed = int(np.random.default_rng((self.seed, epoch, 1)).integers(2**62))
        return RedrawnBatches(pictures=self.pictures, sampling=self.sampling, chosen=chosen, seed=seed)

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the loss of one batch of `RedrawnBatches`, as a scalar float32."""
        pictures, same = batch
        vectors = self.model(pictures)
        with torch.autocast("cpu", enabled=False):
            if isinstance(self.sampling, SinglePairs):
                first, second = vectors.chunk(2)
                logit = self.model.logit((first * second).sum(dim=1))
                return F.binary_cross_entropy_with_logits(logit, same)
            return pairs_loss(self.model.logit(vectors @ vectors.T))

    def settle(self, model: nn.Module) -> None:
        """Do nothing: the network has nothing but trained weights."""

    def check(self, model: nn.Module) -> Mapping[str, float]:
        """Return the equal error rate (EER) on the held-out pictures, in %, for two sets of pairs.

        "error" is for pairs of any products, "error_alike" for pairs from one group of similar products. For
        single pairs, "test_loss" is the loss, with as many pairs of one product as of two.
        """
        vectors = embed_with(model)(self.held_out.pictures)
        everything = picture_pairs(vectors, self.held_out)
        found = {"error": [everything], "error_alike": pairs_by_group(vectors, self.held_out)}
        figures = {name: 100 * equal_error(pairs)[1] for name, pairs in found.items()}
        if isinstance(self.sampling, SinglePairs):
            figures["test_loss"] = single_loss(everything)
        return figures


def pairs_loss(logit: Tensor) -> Tensor:
    """Return the loss of a batch as a scalar. `logit` `(2B, 2B)` compares all pictures with all others.

    Pictures i and i + B show the same product. The loss has two terms: how badly a picture finds this partner
    among all, and how badly pairs are judged to be of one product or of two; both kinds have the same weight.
    """
    count = len(logit)
    partner = torch.arange(count).roll(count // 2)
    itself = torch.eye(count, dtype=torch.bool)
    find = F.cross_entropy(logit.masked_fill(itself, -torch.inf), partner)
    different = ~itself
    different[torch.arange(count), partner] = False
    same = logit[torch.arange(count), partner]
    return find + (F.softplus(-same).mean() + F.softplus(logit[different]).mean()) / 2


def single_loss(pairs: Pairs) -> float:
    """Return the cross-entropy of pairs with the cosine as the logit; both kinds of pairs have equal weight."""
    return float(np.logaddexp(0, -pairs.same).mean() + np.logaddexp(0, pairs.different).mean()) / 2


def embed_with(model: nn.Module) -> Embed:
    """Return a function that turns pictures into vectors with the network `model`, in batches of 100."""

    @torch.inference_mode()
    def embed(pictures: npt.NDArray[np.uint8]) -> Vectors:
        parts = [model(torch.from_numpy(pictures[at : at + 100])) for at in range(0, len(pictures), 100)]
        return np.asarray(torch.cat(parts).numpy(), np.float32)

    return embed


def train_matcher(
    pictures: Pictures,
    held_out: Pictures,
    folder: Path,
    *,
    network: MatcherConfig,
    training: TrainConfig,
    sampling: Sampling,
) -> int:
    """Train on `pictures`, and return the number of finished epochs. `held_out` has pictures to check with.

    Write the checkpoint to `folder`; if `folder` has a checkpoint, continue from it.
    """
    torch.manual_seed(training.seed)
    model = Matcher(network)
    task = MatcherTask(model=model, pictures=pictures, held_out=held_out, sampling=sampling, seed=training.seed)
    return fit(task, folder, training, describe={"model": "matcher", "config": asdict(network)})
