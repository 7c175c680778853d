"""Fits the Gaussians to the features of good parts, and keeps them as a checkpoint, as other trainings do."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from trt_build.backbones.open import open_backbone
from trt_build.data.good import read_good
from trt_build.data.parts import LabelledPart, pictures
from trt_build.methods.checkpoint import CHECKPOINT, PROGRESS, check_same, load, write_checkpoint, writing
from trt_build.methods.gaussian.network import Gaussian, GaussianConfig
from trt_build.methods.good_parts.view import view_of
from trt_build.terminal.console import console
from trt_build.terminal.progress import counted, working

#: Number of pictures that the backbone processes at once.
AT_ONCE = 8


def train_gaussian(
    data: Path,
    folder: Path,
    *,
    network: GaussianConfig,
    weights: Path | None = None,
    mixed_sizes: bool = False,
) -> None:
    """Fit a Gaussian to each place of the good parts in `data`, all but those that are kept for the threshold.

    The checkpoint in `folder` is replaced. If it is of another training, raise CheckpointError. `weights` is
    the file of the backbone's weights. Without `weights`, `open_backbone` searches for the file.
    """
    started = time.monotonic()
    good = read_good(data, mixed_sizes=mixed_sizes)
    describe = {"model": "gaussian", "config": asdict(network)} | view_of(good, network.spec)
    if (folder / CHECKPOINT).exists():
        check_same(folder / CHECKPOINT, load(folder / CHECKPOINT), describe)
    model = Gaussian(network, open_backbone(network.backbone, weights)).eval()
    features = _features(model, [*good.fit, *good.validation])
    with working("fitting a Gaussian to each place"):
        share = model.gaussians.fit(features)
    folder.mkdir(parents=True, exist_ok=True)
    write_checkpoint(folder / CHECKPOINT, {"epoch": 1, "weights": model.state_dict(), "describe": describe})
    line = {"epoch": 1, "parts": len(features), "common": round(share, 4)}
    line["seconds"] = round(time.monotonic() - started, 1)
    with writing(folder / PROGRESS):
        (folder / PROGRESS).write_text(json.dumps(line) + "\n")
    console.print("  ".join(f"{name} {value}" for name, value in line.items()))


@torch.no_grad()
def _features(model: Gaussian, parts: Sequence[LabelledPart]) -> Tensor:
    """Return the features of all parts as `(N, C, h, w)` float32."""
    batches = [parts[i : i + AT_ONCE] for i in range(0, len(parts), AT_ONCE)]
    return torch.cat(
        [
            model.look(torch.from_numpy(pictures(batch, model.config.spec)))
            for batch in counted(batches, "looking at pictures", unit="step")
        ]
    )
