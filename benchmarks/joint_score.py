"""What the autoencoder's joint score is worth, and what L3 adds: each variant trained on the same features.

Of JP 7735801 B2: the score of the codes (L1), of the reconstruction (L2) and their weighted sum, with the
decoder's Jacobian left alone, made small exactly or by either projection, or bounded by spectral
normalisation. In float; nothing is chosen on test parts. Ends with one line of JSON, image AUROC.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trt_build.backbones.open import Backbone, open_backbone
from trt_build.data.parts import LabelledPart, pictures, read_parts, split_good
from trt_build.figures.ranking import image_auroc
from trt_build.methods.autoencoder.network import Autoencoder, AutoencoderConfig
from trt_build.methods.autoencoder.task import AutoencoderTask, LossConfig
from trt_build.methods.autoencoder.train import TRAINING
from trt_build.methods.loop import CHECKPOINT, fit
from trt_build.methods.trained import load_trained

VARIANTS: Mapping[str, tuple[AutoencoderConfig, LossConfig]] = {
    "none": (AutoencoderConfig(), LossConfig(jacobian="none")),
    "exact": (AutoencoderConfig(), LossConfig(jacobian="exact")),
    "forward": (AutoencoderConfig(), LossConfig(jacobian="forward")),
    "reverse": (AutoencoderConfig(), LossConfig(jacobian="reverse")),
    "spectral": (AutoencoderConfig(spectral=True), LossConfig(jacobian="none")),
}


@torch.inference_mode()
def look(backbone: Backbone, parts: Sequence[LabelledPart]) -> Tensor:
    """What the backbone sees of each part, as it is: `Autoencoder.look` before it is used to anything."""
    model = Autoencoder(AutoencoderConfig(), backbone).eval()
    return torch.cat([model.look(torch.from_numpy(pictures([part], model.config.spec))) for part in parts])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="folder of parts in MVTec AD's layout")
    parser.add_argument(
        "--epochs", type=int, default=TRAINING.epochs, help="epochs of each training (default %(default)s)"
    )
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each kind (default %(default)s)")
    parser.add_argument(
        "--backbone",
        default=AutoencoderConfig().backbone,
        help="pre-trained network to start from (default %(default)s)",
    )
    options = parser.parse_args()
    parts = read_parts(options.data, mixed_sizes=True)
    good = split_good(parts.train)
    backbone = open_backbone(options.backbone)
    raw = {name: look(backbone, some) for name, some in (("fit", good.fit), ("held_out", good.validation))}
    tested = look(backbone, parts.test)
    is_good = np.array([part.is_good for part in parts.test])
    found: dict[str, dict[str, float]] = {}
    for name, (network, losses) in VARIANTS.items():
        figures = []
        for seed in range(options.seeds):
            torch.manual_seed(seed)
            model = Autoencoder(replace(network, backbone=options.backbone), backbone).eval()
            seen = model.fit_features(raw["fit"])
            held_out, asked = ((x - model.mean) * model.scale for x in (raw["held_out"], tested))
            task = AutoencoderTask(
                model=model,
                seen=seen,
                held_out=held_out,
                loss_config=losses,
                epochs=options.epochs,
                seed=seed,
            )
            training = replace(TRAINING, epochs=options.epochs, seed=seed)
            with tempfile.TemporaryDirectory() as folder:
                config = {"backbone": options.backbone, "spectral": network.spectral}
                fit(task, Path(folder), training, describe={"model": "autoencoder", "config": config})
                figures.append(aurocs(load_trained(Path(folder) / CHECKPOINT).network, asked, is_good))
        found[name] = {key: round(float(np.mean([f[key] for f in figures])), 4) for key in figures[0]}
        print(f"{name:9}", found[name], file=sys.stderr)
    print(json.dumps({"data": options.data.name, "seeds": options.seeds, "epochs": options.epochs} | found))


@torch.inference_mode()
def aurocs(model: Autoencoder, asked: Tensor, is_good: npt.NDArray[np.bool_]) -> dict[str, float]:
    """Of the test parts as seen, by each score alone and by the joint one."""
    l1, l2, _ = model.judge(asked)
    scores = {"l1": l1, "l2": l2, "joint": model.lambdas[0] * l1 + model.lambdas[1] * l2}
    return {name: image_auroc(s[is_good].numpy(), s[~is_good].numpy()) for name, s in scores.items()}


if __name__ == "__main__":
    main()
