"""Measures what each choice of JP 7735801 B2 does for an autoencoder: its scores alone, joint, and L3's forms.

Each variant is trained on the same good parts, and measured in float by L1 (the codes), L2 (the reconstruction)
and their joint score. Good parts that no training and no lambda has seen are measured against copies of them
with one painted defect each ("local"), and against copies whose lighting is changed as a whole ("global").
Choose by these. With --test, the test parts are measured too, which is for variants that are already chosen.

Features, pictures and trainings are kept in --cache, and a run that was stopped goes on from there. Ends with
one line of JSON, image AUROC.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from painted_parts import KINDS, paint, part_of
from torch import Tensor

from edge.image.warp import Warper
from trt_build.backbones.open import open_backbone
from trt_build.data.parts import LabelledPart, frame_of, read_parts, split_good
from trt_build.figures.ranking import image_auroc
from trt_build.methods.autoencoder.network import PIXELS, Autoencoder, AutoencoderConfig
from trt_build.methods.autoencoder.task import PIXEL_LOSSES, AutoencoderTask, LossConfig
from trt_build.methods.autoencoder.train import PIXEL_TRAINING, TRAINING
from trt_build.methods.checkpoint import CHECKPOINT
from trt_build.methods.loop import fit
from trt_build.methods.trained import load_trained

Picture = npt.NDArray[np.uint8]

#: Name -> what differs from the method's default in the network, and in the losses.
VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "none": ({}, {"jacobian": "none"}),
    "exact": ({}, {"jacobian": "exact"}),
    "forward": ({}, {"jacobian": "forward"}),
    "reverse": ({}, {"jacobian": "reverse"}),
    "spectral": ({"spectral": True}, {"jacobian": "none"}),
    "ssim": ({"distance": "ssim"}, {}),
    "moving": ({}, {"centre": "moving"}),
    "fewer layers": ({}, {}),
}
#: Decoder layers of the variant "fewer layers".
FEWER = {"features": 1, "pixels": 3}
#: Largest change of the whole picture's brightness and of its colours, as a share.
LIGHTING = 0.08


def defective(part: LabelledPart, rng: np.random.Generator) -> list[Picture]:
    """Return copies of a good part's picture, each with a painted defect of another kind."""
    frame = frame_of(part)
    painted = [paint(frame, part_of(frame), kind, rng) for kind in KINDS]
    return [found[0] for found in painted if found is not None]


def lit(part: LabelledPart, rng: np.random.Generator) -> Picture:
    """Return a copy of a good part's picture in another light: brighter or darker, and tinted."""
    frame = frame_of(part)
    colours = 1 if frame.ndim == 2 else 3
    change = 1 + rng.choice((-1, 1)) * rng.uniform(0.3, 1, colours) * LIGHTING
    return (frame * change).clip(0, 255).astype(np.uint8)


def frames(data: Path, name: str) -> list[Picture]:
    """Return pictures of the parts in `data` in their original sizes.

    `name` says which: "fit" to train with, "held_out" for the lambdas, "good" to measure with, their painted
    ("local") and lit ("global") copies, or the test parts ("test_good" and "test_bad").
    """
    parts, rng = read_parts(data, mixed_sizes=True), np.random.default_rng(0)
    good = split_good(parts.train)
    if name == "local":
        return [frame for part in good.calibration for frame in defective(part, rng)]
    if name == "global":
        return [lit(part, rng) for part in good.calibration]
    chosen = {
        "fit": good.fit,
        "held_out": good.validation,
        "good": good.calibration,
        "test_good": [part for part in parts.test if part.is_good],
        "test_bad": [part for part in parts.test if not part.is_good],
    }
    return [frame_of(part) for part in chosen[name]]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What an autoencoder sees of the pictures in a folder of parts. It is computed once and kept in files."""

    data: Path
    network: AutoencoderConfig
    cache: Path

    def of(self, name: str) -> Tensor:
        """Return what the network sees of the pictures `frames(data, name)` before it is normalised.

        The tensor is `(N, P, h, w)` float32.
        """
        network = self.network
        kind = network.backbone if network.input == "features" else "pixels"
        kept = self.cache / f"{self.data.name}-{kind}-{network.width}x{network.height}-{name}.pt"
        if not kept.exists():
            backbone = open_backbone(network.backbone) if network.input == "features" else None
            model = Autoencoder(network, backbone).eval()
            seen = torch.cat([_look(model, frame) for frame in frames(self.data, name)])
            self.cache.mkdir(parents=True, exist_ok=True)
            torch.save(seen, kept.with_suffix(".part"))
            kept.with_suffix(".part").rename(kept)
        seen = torch.load(kept)
        assert isinstance(seen, Tensor)
        return seen


@torch.inference_mode()
def _look(model: Autoencoder, frame: Picture) -> Tensor:
    out = np.empty(model.config.spec.shape, np.uint8)
    Warper(None, model.config.spec).warp(frame.shape).apply(frame, out)
    return model.look(torch.from_numpy(out))


def train(
    shown: Shown, network: AutoencoderConfig, losses: LossConfig, folder: Path, epochs: int, seed: int
) -> Autoencoder:
    """Return an autoencoder that is trained in `folder`, or go on with the training that is there."""
    torch.manual_seed(seed)
    # The features are computed already, so an untrained backbone does.
    model = Autoencoder(network).eval()
    seen = model.fit_features(shown.of("fit"))
    held_out = (shown.of("held_out") - model.mean) * model.scale
    task = AutoencoderTask(
        model=model, seen=seen, held_out=held_out, loss_config=losses, epochs=epochs, seed=seed
    )
    training = replace(TRAINING if network.input == "features" else PIXEL_TRAINING, epochs=epochs, seed=seed)
    describe = {"model": "autoencoder", "config": asdict(network), "losses": asdict(losses)}
    fit(task, folder, training, describe=describe)
    trained = load_trained(folder / CHECKPOINT).network
    assert isinstance(trained, Autoencoder)
    return trained


def aurocs(model: Autoencoder, good: Tensor, bad: Tensor) -> dict[str, float]:
    """Return the image AUROC of each score alone and of the joint one. Both tensors are from `Shown.of`."""
    scores = [model.two_scores((seen - model.mean) * model.scale) for seen in (good, bad)]
    weights = {"l1": (1.0, 0.0), "l2": (0.0, 1.0), "joint": (1.0, 1.0)}
    first, second = model.lambdas
    return {
        name: round(image_auroc(*((a * first * l1 + b * second * l2).numpy() for l1, l2 in scores)), 4)
        for name, (a, b) in weights.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="folder of parts in MVTec AD's layout")
    parser.add_argument(
        "--input",
        choices=("features", "pixels"),
        default="features",
        help="what the autoencoder encodes (default %(default)s)",
    )
    parser.add_argument(
        "--size", type=int, default=256, help="side of a picture in pixels (default %(default)s)"
    )
    parser.add_argument("--epochs", type=int, default=40, help="epochs of each training (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random numbers (default %(default)s)")
    parser.add_argument(
        "--variants",
        nargs="+",
        choices=VARIANTS,
        default=list(VARIANTS),
        help="variants to train (default all)",
    )
    parser.add_argument("--cache", required=True, type=Path, help="folder for features and trainings")
    parser.add_argument("--test", action="store_true", help="measure the test parts in the folder too")
    options = parser.parse_args()
    features = options.input == "features"
    plain = replace(AutoencoderConfig() if features else PIXELS, height=options.size, width=options.size)
    shown = Shown(data=options.data, network=plain, cache=options.cache)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name in options.variants:
        of_network, of_losses = VARIANTS[name]
        if name == "fewer layers":
            of_network = {"decoder_layers": FEWER[options.input]}
        network = replace(plain, **of_network)
        losses = replace(LossConfig() if features else PIXEL_LOSSES, **of_losses)
        kept = f"{options.data.name}-{options.input}-{options.size}-{options.epochs}-{options.seed}-{name}"
        model = train(shown, network, losses, options.cache / kept, options.epochs, options.seed)
        found[name] = {bad: aurocs(model, shown.of("good"), shown.of(bad)) for bad in ("local", "global")}
        if options.test:
            found[name]["test"] = aurocs(model, shown.of("test_good"), shown.of("test_bad"))
        print(f"{name:12}", found[name], file=sys.stderr)
    settings = {name: getattr(options, name) for name in ("input", "size", "epochs", "seed")}
    print(json.dumps({"data": options.data.name, **settings, **found}))


if __name__ == "__main__":
    main()
