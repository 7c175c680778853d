"""Offers the comparator to the commands of `trt-build`, for folders of pairs of a board and its master."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.bundle import Bundle
from edge.manifest import Calibration, InputSpec
from trt_build.data.cases import Case, evenly, pair_cases
from trt_build.data.pairs import read_pairs, split
from trt_build.engines.verify import Measure
from trt_build.figures.boards import choose_cut, draw_worst, figures, find_all
from trt_build.methods.base import (
    Evaluated,
    EvaluateOptions,
    Exportable,
    ExportError,
    Method,
    MethodName,
)
from trt_build.methods.comparator.calibrate import held_out_pairs, measure_of, set_thresholds
from trt_build.methods.comparator.judge import open_judge
from trt_build.packing.fit import fit_of
from trt_build.packing.threshold import CalibrationOptions
from trt_build.terminal.progress import counted

if TYPE_CHECKING:
    from trt_build.methods.comparator.network import Comparator

CALIBRATION_PICTURES = 100
FITTED = 300  # pairs on which it is measured how well good boards fit their masters


class ComparatorMethod:
    """Judges a board by comparing its picture with that of its master, which has no defects."""

    name: MethodName = "comparator"
    evaluate_options = frozenset({"chosen_on", "report"})
    quality = "AP at IoU 0.33"
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
        spec = InputSpec(height=height, width=width, color="gray" if network.config.in_channels == 1 else "bgr")
        return Exportable(
            input=spec,
            kinds=network.config.kinds,
            outputs=("map", "extents"),
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
        fit = fit_of(evenly(read_pairs(data), FITTED))
        return set_thresholds(draft, held_out_pairs(data), options, fit)

    def held_out(self, data: Path, spec: InputSpec) -> Iterator[Case]:
        """Yield all pairs that were not used for training."""
        return pair_cases(held_out_pairs(data), spec)

    def labelled(self, data: Path, bundle: Bundle) -> tuple[Iterator[Case], Measure]:
        """Return all pairs in `data`, and a function that measures the quality of an engine's outputs.

        The quality is the mean over all kinds of the average precision (AP) at IoU 0.33, in 0 to 100 points.
        """
        pairs = read_pairs(data)
        return pair_cases(pairs, bundle.manifest.input), measure_of(pairs)

    def evaluate(self, model: Path, data: Path, options: EvaluateOptions) -> Evaluated:
        """Return the figures of a bundle or a checkpoint on the pairs in `data`.

        If `options.report` is a folder, write pictures of the worst boards to it. A box counts if its score
        reaches the cut. The cut is chosen on the held-out pairs of the folder `options.chosen_on`; without this
        folder, it is 0.5.
        """
        test = read_pairs(data)
        kept = held_out_pairs(options.chosen_on) if options.chosen_on else []
        with open_judge(model) as judge:
            cut = choose_cut(kept, find_all(judge, counted(kept, "choosing the cut"))) if kept else 0.5
            found = find_all(judge, counted(test, "judging boards"))
        measured = figures(test, found, cut=cut)
        if not options.report:
            return Evaluated(figures=measured)
        drawn = draw_worst(test, found, options.report, cut=cut)
        return Evaluated(figures=measured, written=(f"{len(drawn)} pictures in {options.report}",))


METHOD: Method = ComparatorMethod()
