"""Opens a backbone by its name: a frozen network, trained on ImageNet, with features at strides 4, 8 and 16."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Protocol, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from trt_build.backbones.efficientnet import EfficientNetLite
from trt_build.backbones.mobilenet import MobileNet
from trt_build.backbones.published import (
    PUBLISHED,
    BackboneError,
    check_digest,
    fetch_backbone,
    find_backbone,
    how_to_get,
    published,
)
from trt_build.backbones.resnet import ResNet

__all__ = ["BACKBONES", "Backbone", "BackboneError", "build_backbone", "fetch_backbone", "open_backbone"]


class Network(Protocol):
    """A classifier in stages. The first three stages give the features at strides 4, 8 and 16."""

    @property
    def channels(self) -> tuple[int, ...]:
        """The number of channels in the output of each stage."""

    def stage(self, index: int, x: Tensor) -> Tensor:
        """Return the features of stage `index` as `(N, C, h, w)`.

        `x` holds the features of the stage before or, for stage 0, the images.
        """

    def classify(self, x: Tensor) -> Tensor:
        """Return logits, one for each class, as `(N, classes)`. `x` holds the features of the last stage."""


@dataclass(frozen=True, kw_only=True)
class _Recipe:
    """How to build a network, and the mean and deviation of RGB (0 to 255) that its weights expect."""

    build: Callable[[], nn.Module]
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    deviation: tuple[float, float, float] = (58.395, 57.12, 57.375)


_TENSORFLOW = (128.0, 128.0, 128.0)


def _efficientnet(width: float, depth: float) -> _Recipe:
    mean = (127.0, 127.0, 127.0)
    return _Recipe(build=lambda: EfficientNetLite(width, depth), mean=mean, deviation=_TENSORFLOW)


BACKBONES = {
    "efficientnet_lite0": _efficientnet(1.0, 1.0),
    "efficientnet_lite1": _efficientnet(1.0, 1.1),
    "efficientnet_lite2": _efficientnet(1.1, 1.2),
    "resnet18": _Recipe(build=lambda: ResNet((2, 2, 2, 2))),
    "resnet34": _Recipe(build=lambda: ResNet((3, 4, 6, 3))),
    "resnet50": _Recipe(build=lambda: ResNet((3, 4, 6, 3), width=64)),
    "wide_resnet50_2": _Recipe(build=lambda: ResNet((3, 4, 6, 3), width=128)),
    "mobilenet_v2": _Recipe(build=lambda: MobileNet(2), mean=_TENSORFLOW, deviation=_TENSORFLOW),
    "mobilenet_v1": _Recipe(build=lambda: MobileNet(1), mean=_TENSORFLOW, deviation=_TENSORFLOW),
}
assert BACKBONES.keys() == PUBLISHED.keys()


class Backbone(nn.Module):
    """A frozen network that turns images into features at strides 4, 8 and 16.

    Images are `(N, 3, H, W)` RGB in 0 to 255, uint8 or float, with sides that are multiples of 32. A grey
    image, `(N, 1, H, W)`, becomes three channels when the mean is subtracted. The network stays frozen and in
    evaluation mode, even while a model that contains it is trained.
    """

    def __init__(self, name: str, network: nn.Module) -> None:
        super().__init__()
        self.name, self.network = name, network
        recipe = BACKBONES[name]
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.tensor(recipe.mean).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", 1 / torch.tensor(recipe.deviation).reshape(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)
        self.eval()

    @property
    def channels(self) -> tuple[int, int, int]:
        """The number of channels of the features at strides 4, 8 and 16."""
        four, eight, sixteen = self._stages().channels[:3]
        return four, eight, sixteen

    @property
    def depth(self) -> int:
        """The number of channels of the deepest features, which the last stage gives."""
        return self._stages().channels[-1]

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return three feature maps, `(N, channels[i], H/s, W/s)` float32, at the strides s = 4, 8 and 16."""
        stages = self._stages()
        four = stages.stage(0, self._normalised(image))
        eight = stages.stage(1, four)
        return four, eight, stages.stage(2, eight)

    def deepest(self, sixteen: Tensor) -> Tensor:
        """Return the last stage's features as `(N, depth, h, w)`, from the features at stride 16."""
        for index in range(3, len(self._stages().channels)):
            sixteen = self._stages().stage(index, sixteen)
        return sixteen

    def classify(self, image: Tensor) -> Tensor:
        """Return logits as `(N, classes)`, for the classes that the network was trained on."""
        x = self._normalised(image)
        for index in range(len(self._stages().channels)):
            x = self._stages().stage(index, x)
        return self._stages().classify(x)

    def train(self, mode: bool = True) -> Backbone:
        """Ignore `mode` and stay in evaluation mode, so that training a larger model changes no batch norm."""
        return super().train(False)

    def _normalised(self, image: Tensor) -> Tensor:
        return (image.to(self.mean.dtype) - self.mean) * self.scale

    def _stages(self) -> Network:
        return cast(Network, self.network)


def build_backbone(name: str) -> Backbone:
    """Return an untrained backbone, to load a checkpoint into. Raise BackboneError if `name` is unknown."""
    published(name)
    return Backbone(name, BACKBONES[name].build())


def open_backbone(name: str, weights: Path | None = None) -> Backbone:
    """Return the backbone `name` with the weights in the file `weights`.

    If `weights` is None, read the published file that `find_backbone` finds. Raise BackboneError if the file is
    missing, altered or for another network. The error's text says how to get the right file.
    """
    backbone = build_backbone(name)
    path = weights or find_backbone(name)
    if weights and weights.name == published(name).file:
        check_digest(weights, name)
    state, expected = _read(path, name), backbone.network.state_dict()
    wrong = [key for key in sorted({*state, *expected}) if _shape(state, key) != _shape(expected, key)]
    if wrong:
        raise BackboneError(
            f"{path}: not the weights of {name}: {len(wrong)} tensors do not fit, such as {wrong[0]!r}: "
            f"expected {_shape(expected, wrong[0])}, found {_shape(state, wrong[0])}; {how_to_get(name)}"
        )
    backbone.network.load_state_dict(state)
    return backbone


def _shape(state: dict[str, Tensor], key: str) -> tuple[int, ...] | None:
    return tuple(state[key].shape) if key in state else None


def _read(path: Path, name: str) -> dict[str, Tensor]:
    """Return the tensors in a .safetensors or a .pth file. No code in the file is run."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
        # Files from before torch 0.4.1 have no counts of batches, which nothing here uses.
        counts = {key.replace("running_mean", "num_batches_tracked") for key in state if "running_mean" in key}
        return {**dict.fromkeys(counts, torch.tensor(0)), **state}
    except OSError as error:
        raise BackboneError(f"{path}: cannot be read: {error.strerror}; {how_to_get(name)}") from error
    except (
        SafetensorError,
        EOFError,
        RuntimeError,
        ValueError,
        TypeError,
        LookupError,
        UnpicklingError,
    ) as error:
        raise BackboneError(f"{path}: not a file of weights, or cut short; {how_to_get(name)}") from error
