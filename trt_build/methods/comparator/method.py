"""Offers the comparator to the commands of `trt-build`, for folders of pairs of a board and its master."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.bundle import Bundle, read_draft
from edge.manifest import Calibration, InputSpec, ModelManifest
from trt_build.data.cases import Case, evenly, pair_cases
from trt_build.data.pairs import Pair, read_pairs, split
from trt_build.engines.verify import Measure
from trt_build.methods.base import (
    Evaluated,
    EvaluateOptions,
    Exportable,
    ExportError,
    Method,
    MethodName,
)
from trt_build.methods.comparator.calibrate import held_out_of, measure_of, set_thresholds
from trt_build.methods.comparator.evaluate import evaluate
from trt_build.methods.comparator.judge import pairs_for
from trt_build.packing.fit import fit_of
from trt_build.packing.threshold import CalibrationOptions

if TYPE_CHECKING:
    from trt_build.methods.comparator.network import Comparator

CALIBRATION_PICTURES = 100
FITTED = 300  # pairs on which it is measured how well good boards fit their masters


class ComparatorMethod:
    """Judges a board by comparing its picture with that of its master, which has no defects."""

    name: MethodName = "comparator"
    evaluate_options = frozenset({"chosen_on", "report"})
    quality = "AP of boxes at IoU 0.33, or of pixels"
    evaluates_checkpoints = True

    def build(self, config: Mapping[str, Any]) -> Comparator:
        """Return the network that a checkpoint's `config` describes, without its trained weights."""
        from trt_build.methods.comparator.network import Comparator, ComparatorConfig

        return Comparator(ComparatorConfig(**config))

    def exportable(self, network: Comparator, *, height: int, width: int) -> Exportable:
        """Return one ONNX graph for masters and one for boards. Raise ExportError if the size does not fit."""
        from trt_build.methods.comparator.network import COARSEST, Judge, Reference

        if height % COARSEST or width % COARSEST:
            raise ExportError(
                f"expected a size whose sides are multiples of {COARSEST}, found {width}x{height}"
            )
        return Exportable(
            input=InputSpec(height=height, width=width, color=network.config.input.color),
            kinds=network.config.kinds,
            outputs=("map", "extents") if network.config.extents else ("map",),
            judge=Judge(network),
            reference=Reference(network),
        )

    def calibration_pictures(self, data: Path, spec: InputSpec) -> list[Case]:
        """Return up to 100 pairs that were used for training, evenly chosen, to calibrate INT8."""
        known, _ = split(read_pairs(data))
        return list(pair_cases(evenly(known, CALIBRATION_PICTURES), spec))

    def calibrate(self, draft: Path, data: Path, options: CalibrationOptions) -> Calibration | None:
        """Set the draft's thresholds, and its limits of how well a board must fit its master.

        The thresholds are chosen on pairs not used for training, the limits on up to 300 of all pairs.
        """
        pairs = _pairs_of(data, read_draft(draft).manifest)
        fit = fit_of(evenly(pairs, FITTED))
        return set_thresholds(draft, held_out_of(pairs, data), options, fit)

    def held_out(self, data: Path, spec: InputSpec) -> Iterator[Case]:
        """Yield all pairs that were not used for training."""
        return pair_cases(held_out_of(read_pairs(data), data), spec)

    def labelled(self, data: Path, bundle: Bundle) -> tuple[Iterator[Case], Measure]:
        """Return all pairs in `data`, and a function that measures the quality of an engine's outputs.

        The quality is the mean over all kinds of the average precision (AP), in 0 to 100 points: of boxes at
        IoU 0.33, or of pixels if the model was trained with masks.
        """
        pairs = _pairs_of(data, bundle.manifest)
        return pair_cases(pairs, bundle.manifest.input), measure_of(pairs, bundle.manifest.kinds)

    def evaluate(self, model: Path, data: Path, options: EvaluateOptions) -> Evaluated:
        """Return the figures of a bundle or a checkpoint on the pairs in `data`."""
        return evaluate(model, data, options)


def _pairs_of(data: Path, manifest: ModelManifest) -> list[Pair]:
    """Return the pairs in `data` for a draft or a bundle, as `pairs_for` does."""
    return pairs_for(data, manifest.input, manifest.kinds, extents="extents" in manifest.outputs)


METHOD: Method = ComparatorMethod()
