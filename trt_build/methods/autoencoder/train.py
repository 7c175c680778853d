"""Trains an autoencoder on a folder of good parts."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from trt_build.backbones.open import open_backbone
from trt_build.data.good import read_good
from trt_build.data.parts import LabelledPart, pictures
from trt_build.methods.autoencoder.network import Autoencoder, AutoencoderConfig
from trt_build.methods.autoencoder.task import AutoencoderTask, LossConfig
from trt_build.methods.good_parts.view import view_of
from trt_build.methods.loop import TrainConfig, fit
from trt_build.terminal.progress import counted

TRAINING = TrainConfig(epochs=80, rate=3e-3, warm_up=0.05, check_every=10, bf16=False)
PIXEL_TRAINING = TrainConfig(epochs=60, rate=2e-3, warm_up=0.05, check_every=10, bf16=False)


def train_autoencoder(
    parts: Path,
    folder: Path,
    *,
    network: AutoencoderConfig,
    training: TrainConfig = TRAINING,
    loss_config: LossConfig | None = None,
    weights: Path | None = None,
    mixed_sizes: bool = False,
    tiles: tuple[int, int] = (1, 1),
) -> int:
    """Train on the good parts in the folder `parts`. Return the number of finished epochs.

    Write the checkpoint to `folder`; if `folder` has a checkpoint, continue from it. `weights` is the file of
    the backbone's weights. Without `weights`, `open_backbone` searches for the file. `tiles`, columns and rows,
    are the inputs into which each picture is cut.
    """
    torch.manual_seed(training.seed)
    good = read_good(parts, mixed_sizes=mixed_sizes, tiles=tiles)
    backbone = open_backbone(network.backbone, weights) if network.input == "features" else None
    model = Autoencoder(network, backbone).eval()
    seen = model.fit_features(_look(model, good.fit))
    held_out = _look(model, good.validation)
    losses = loss_config or LossConfig()
    task = AutoencoderTask(
        model=model,
        seen=seen,
        held_out=held_out,
        loss_config=losses,
        epochs=training.epochs,
        seed=training.seed,
    )
    describe = {"model": "autoencoder", "config": asdict(network), "losses": asdict(losses)}
    return fit(task, folder, training, describe=describe | view_of(good, network.spec))


@torch.inference_mode()
def _look(model: Autoencoder, parts: list[LabelledPart]) -> Tensor:
    """Return what `Autoencoder.look` does for the parts' pictures, `(N, P, h, w)`, and show the progress."""
    shown = counted(parts, "looking at pictures")
    return torch.cat([model.look(torch.from_numpy(pictures([part], model.config.spec))) for part in shown])
