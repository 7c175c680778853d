"""What `trt-build train` does for each method: its network, how long it learns, and from which pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from edge.engines.processor import usable_cores
from edge.render.defects import KINDS
from trt_build.data.errors import DatasetError
from trt_build.methods.autoencoder.network import AutoencoderConfig
from trt_build.methods.autoencoder.train import TRAINING as AUTOENCODER
from trt_build.methods.autoencoder.train import train_autoencoder
from trt_build.methods.comparator.network import ComparatorConfig
from trt_build.methods.comparator.train import train_comparator
from trt_build.methods.loop import TrainConfig
from trt_build.methods.matcher.network import MatcherConfig
from trt_build.methods.matcher.steps import learned
from trt_build.methods.matcher.train import Lessons, train_matcher
from trt_build.methods.pfm.network import PFMConfig
from trt_build.methods.pfm.train import TRAINING as PFM
from trt_build.methods.pfm.train import train_pfm
from trt_build.methods.stpm.network import STPMConfig
from trt_build.methods.stpm.train import TRAINING as STPM
from trt_build.methods.stpm.train import train_stpm
from trt_build.terminal.progress import bars


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a person may say of a training; None: the method's own."""

    epochs: int | None = None
    seed: int = 0
    backbone: str | None = None
    second: str | None = None
    position: bool = False
    mixed_sizes: bool = False

    def of(self, training: TrainConfig) -> TrainConfig:
        return replace(training, seed=self.seed, epochs=self.epochs or training.epochs)


def train_method(method: str, data: Path, folder: Path, asked: Asked) -> None:
    """Train a method on the pictures of a folder, in `folder`; a run that was stopped goes on."""
    if asked.backbone and method in ("comparator", "matcher"):
        raise DatasetError(f"--backbone: the method {method} has none: leave it out")
    if asked.second and method not in ("stpm", "pfm"):
        raise DatasetError(f"--second: the method {method} has no second network: leave it out")
    if asked.position and method != "pfm":
        raise DatasetError(f"--position: only pfm takes it, the method {method} does not: leave it out")
    torch.set_num_threads(usable_cores())
    with bars():
        _TRAIN[method](data, folder, asked)


def _comparator(data: Path, folder: Path, asked: Asked) -> None:
    network = ComparatorConfig(kinds=KINDS)
    train_comparator(data, folder, network=network, training=asked.of(TrainConfig(epochs=50)))


def _matcher(data: Path, folder: Path, asked: Asked) -> None:
    network = MatcherConfig()
    known, held_out = learned(data, network.spec)
    lessons, counts = Lessons(), [len(np.unique(pictures.product)) for pictures in (known, held_out)]
    if counts[0] < lessons.pairs or counts[1] < 2:
        raise DatasetError(
            f"{data}: expected at least {lessons.pairs} products to train with and 2 to measure by, found "
            f"{counts[0]} and {counts[1]}: give more, about {round(1.5 * lessons.pairs)}"
        )
    training = asked.of(TrainConfig(epochs=40))
    train_matcher(known, held_out, folder, network=network, training=training, lessons=lessons)


def _autoencoder(data: Path, folder: Path, asked: Asked) -> None:
    network = AutoencoderConfig()
    if asked.backbone:
        network = replace(network, backbone=asked.backbone)
    training = asked.of(AUTOENCODER)
    train_autoencoder(data, folder, network=network, training=training, mixed_sizes=asked.mixed_sizes)


def _stpm(data: Path, folder: Path, asked: Asked) -> None:
    network = STPMConfig(second=asked.second)
    if asked.backbone:
        network = replace(network, teacher=asked.backbone)
    training = asked.of(STPM)
    train_stpm(data, folder, network=network, training=training, mixed_sizes=asked.mixed_sizes)


def _pfm(data: Path, folder: Path, asked: Asked) -> None:
    network = PFMConfig(position=asked.position)
    network = replace(network, first=asked.backbone or network.first, second=asked.second or network.second)
    train_pfm(data, folder, network=network, training=asked.of(PFM), mixed_sizes=asked.mixed_sizes)


_TRAIN: dict[str, Callable[[Path, Path, Asked], None]] = {
    "comparator": _comparator,
    "matcher": _matcher,
    "autoencoder": _autoencoder,
    "stpm": _stpm,
    "pfm": _pfm,
}
