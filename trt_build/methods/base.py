"""Defines `Method`: what each method of judging parts offers to the commands of `trt-build`.

A module `trt_build.methods.<name>.method` does not import torch. Its functions do, when they are called. So a
machine that only packs and verifies does not need torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from edge.errors import EdgeError

if TYPE_CHECKING:
    from torch import nn

    from edge.bundle import Bundle
    from edge.manifest import Calibration, InputSpec
    from trt_build.data.cases import Case
    from trt_build.engines.verify import Measure
    from trt_build.methods.loop import TrainConfig
    from trt_build.packing.threshold import CalibrationOptions

#: The names of the methods. Each has a folder of its name here, with `network.py`, `train.py` and `method.py`.
MethodName = Literal["comparator", "matcher", "autoencoder", "stpm", "pfm"]


class ExportError(EdgeError, ValueError):
    """A model that cannot be exported with these options."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """The options of `trt-build train`; None means the method's own value."""

    epochs: int | None = None
    seed: int = 0
    backbone: str | None = None
    second: str | None = None
    position: bool = False
    mixed_sizes: bool = False

    def applied_to(self, training: TrainConfig) -> TrainConfig:
        """Return the method's own training with the seed and the number of epochs of these options."""
        return replace(training, seed=self.seed, epochs=self.epochs or training.epochs)


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """The options of `trt-build evaluate`."""

    chosen_on: Path | None = None
    report: Path | None = None
    run: Path | None = None
    verdicts: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """The figures of a model, and a line of text for each thing that was written."""

    figures: dict[str, float]
    written: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Exportable:
    """A trained network as the modules that become graphs, and what the manifest says of them.

    `judge` takes pictures `(N, C, H, W)` uint8 and gives `outputs`, in that order. A `reference` takes masters
    of the same shape; then `judge` takes the reference's features too, as a list.
    """

    input: InputSpec
    kinds: tuple[str, ...]
    outputs: tuple[str, ...]
    judge: nn.Module
    reference: nn.Module | None = None


class Method(Protocol):
    """One way of judging parts, from the training of a network to its figures."""

    name: MethodName
    #: Names of fields of `TrainOptions` that the method takes, besides `epochs` and `seed`, which all take.
    train_options: frozenset[str]
    evaluate_options: frozenset[str]  # names of fields of `EvaluateOptions` that the method takes
    quality: str  # name of the figure that `labelled` measures
    #: True if `evaluate` takes a checkpoint too; the other methods evaluate bundles only.
    evaluates_checkpoints: bool

    def train(self, data: Path, folder: Path, options: TrainOptions) -> None:
        """Train on the pictures of `data`, in `folder`, where a stopped training goes on."""

    def build(self, config: Mapping[str, Any]) -> nn.Module:
        """Return the network of a checkpoint's configuration, without its trained weights."""

    def exportable(self, network: Any, *, height: int, width: int) -> Exportable:
        """Return what is exported of a network, for `height` and `width` in pixels unless its size is fixed."""

    def calibration_pictures(self, data: Path, spec: InputSpec) -> list[Case]:
        """Return pictures that were trained with, evenly chosen, to calibrate INT8 with."""

    def calibrate(self, draft: Path, data: Path, options: CalibrationOptions) -> Calibration | None:
        """Set the draft's thresholds by pictures that were not trained with."""

    def held_out(self, data: Path, spec: InputSpec) -> Iterator[Case]:
        """Yield pictures that were not trained with, for tolerances and golden frames."""

    def labelled(self, data: Path, bundle: Bundle) -> tuple[Iterator[Case], Measure]:
        """Return labelled pictures, and what measures the quality of an engine's outputs for them."""

    def evaluate(self, model: Path, data: Path, options: EvaluateOptions) -> Evaluated:
        """Return the figures of a model on the labelled pictures of `data`; write what the options name."""


def not_taken(options: TrainOptions | EvaluateOptions, taken: frozenset[str]) -> list[str]:
    """Return the options that are set and that a method does not take, as a person types them."""
    return [
        f"--{option.name.replace('_', '-')}"
        for option in fields(options)
        if option.name not in {"epochs", "seed", *taken} and getattr(options, option.name) != option.default
    ]
