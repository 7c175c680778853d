"""Defines `Method`: the functions that each method of judging parts offers to the commands of `trt-build`.

The module `trt_build.methods.<name>.method` imports torch only inside its functions. So a machine that only
packs and verifies bundles does not need torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from edge.errors import EdgeError

if TYPE_CHECKING:
    from torch import nn

    from edge.bundle import Bundle
    from edge.manifest import Calibration, InputSpec
    from trt_build.data.cases import Case
    from trt_build.engines.verify import Measure
    from trt_build.packing.threshold import CalibrationOptions

#: The names of the methods. Each has a folder of its name here, with `network.py`, `train.py` and `method.py`.
MethodName = Literal["comparator", "matcher", "autoencoder", "stpm", "pfm", "gaussian"]


class ExportError(EdgeError, ValueError):
    """The error that is raised if a model cannot be exported with the options that were given."""


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """The options of `trt-build evaluate`. If an option is None, it was not given."""

    chosen_on: Path | None = None
    report: Path | None = None
    run: Path | None = None
    verdicts: Path | None = None


@dataclass(frozen=True, kw_only=True)
class FigureTable:
    """Figures to be printed as a table. Each row begins with its name; the figures follow."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | float, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """A model's quality figures, more of them in tables, and a line of text for each file that was written."""

    figures: dict[str, float]
    tables: tuple[FigureTable, ...] = ()
    written: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Exportable:
    """A trained network, split into the modules that become ONNX graphs, and what the manifest needs to know.

    `judge` takes pictures as `(N, C, H, W)` uint8 and returns the tensors that `outputs` names. If there is a
    `reference`, it turns masters `(N, C, H, W)` uint8 into a list of features, the second input of `judge`.
    """

    input: InputSpec
    kinds: tuple[str, ...]
    outputs: tuple[str, ...]
    judge: nn.Module
    reference: nn.Module | None = None


class Method(Protocol):
    """A method of judging parts: it exports, calibrates and evaluates a kind of network."""

    name: MethodName
    evaluate_options: frozenset[str]  # names of the fields of `EvaluateOptions` that it knows
    quality: str  # name of the figure that `labelled` measures
    #: True if `evaluate` accepts a checkpoint as well as a bundle.
    evaluates_checkpoints: bool

    def build(self, config: Mapping[str, Any]) -> nn.Module:
        """Return an untrained network with the configuration that a checkpoint holds."""

    def exportable(self, network: Any, *, height: int, width: int) -> Exportable:
        """Return what is exported of a network. `height` and `width` are ignored if it takes one size only."""

    def calibration_pictures(self, data: Path, spec: InputSpec) -> list[Case]:
        """Return some training pictures, evenly spread over the data set. INT8 is calibrated on them."""

    def calibrate(self, draft: Path, data: Path, options: CalibrationOptions) -> Calibration | None:
        """Set the thresholds in the draft bundle on pictures that were not used in training.

        Return the calibration, from which p-values are computed, or None if there are too few good parts.
        """

    def held_out(self, data: Path, spec: InputSpec) -> Iterator[Case]:
        """Yield pictures that were not used in training, to choose tolerances and golden frames."""

    def labelled(self, data: Path, bundle: Bundle) -> tuple[Iterator[Case], Measure]:
        """Return labelled pictures, and a function that rates an engine by its outputs for these pictures."""

    def evaluate(self, model: Path, data: Path, options: EvaluateOptions) -> Evaluated:
        """Return quality figures on the labelled pictures in `data`. Write the files that the options name."""


def not_taken(options: EvaluateOptions, taken: frozenset[str]) -> list[str]:
    """Return the options, written as `--name`, that the user set and the method does not know.

    `taken` holds the names of the fields that the method knows.
    """
    return [
        f"--{option.name.replace('_', '-')}"
        for option in fields(options)
        if option.name not in taken and getattr(options, option.name) != option.default
    ]
