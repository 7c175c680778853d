"""Contains the base class of all methods that learn from good parts only and read folders of parts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge.bundle import Bundle, read_draft, read_model
from edge.engines.base import Outputs
from edge.judges.golden import scores
from edge.manifest import Calibration, InputSpec
from edge.recipe import EngineChoice
from trt_build.data.cases import Case, evenly, part_cases
from trt_build.data.errors import DatasetError
from trt_build.data.good import promised
from trt_build.data.parts import SHARES, as_learned, read_parts, split_good
from trt_build.data.rates import parts_for
from trt_build.engines.verify import Measure
from trt_build.figures.parts import evaluate, read_test_parts
from trt_build.figures.ranking import image_auroc
from trt_build.methods.base import Evaluated, EvaluateOptions, Exportable
from trt_build.packing.threshold import CalibrationOptions, set_threshold

CALIBRATION_PICTURES = 100
GOLDEN = 12  # number of good parts, and of bad parts, from which the golden frames are chosen
IN_REPORT = ("image_auroc", "escape", "overkill")  # figures that a report shows by itself, with intervals


class GoodPartsMethod:
    """The base class of methods whose network learns from good parts and gives a score and an anomaly map."""

    evaluate_options = frozenset({"report", "run", "verdicts"})
    quality = "AUROC"
    evaluates_checkpoints = False

    def exportable(self, network: Any, *, height: int, width: int) -> Exportable:
        """Return the network as one graph. The picture size given here is ignored: training has fixed it."""
        spec: InputSpec = network.config.spec
        return Exportable(input=spec, kinds=("anomaly",), outputs=("score", "map"), judge=network)

    def calibration_pictures(self, data: Path, spec: InputSpec) -> list[Case]:
        """Return up to 100 good training parts, evenly spread over the data set. INT8 is calibrated on them."""
        fit = split_good(read_parts(data, mixed_sizes=True).train).fit
        return list(part_cases(evenly(fit, CALIBRATION_PICTURES), spec))

    def calibrate(self, draft: Path, data: Path, options: CalibrationOptions) -> Calibration:
        """Set the draft's threshold on good parts that were not used in training. Return the calibration."""
        model = read_draft(draft)
        parts = read_parts(data, mixed_sizes=True).train
        good = split_good(parts).calibration
        if len(good) < options.least:
            raise DatasetError(
                f"{data / 'train/good'}: {len(good)} of {len(parts)} good parts are kept for the threshold, "
                f"which {promised(len(good))}; --rate {options.rate:g} --how {options.how} needs "
                f"{options.least} of them, so take about "
                f"{parts_for(options.least, SHARES['calibration'])} good parts in all (those you add need no "
                "new training), or ask for a higher rate"
            )
        return set_threshold(draft, part_cases(as_learned(good, model), model.manifest.picture), options)

    def held_out(self, data: Path, spec: InputSpec) -> Iterator[Case]:
        """Yield up to 12 defective and then up to 12 good parts that were not used in training."""
        parts = read_parts(data, mixed_sizes=True)
        good = split_good(parts.train).calibration
        bad = [part for part in parts.test if not part.is_good]
        return part_cases([*evenly(bad, GOLDEN), *evenly(good, GOLDEN)], spec)

    def labelled(self, data: Path, bundle: Bundle) -> tuple[Iterator[Case], Measure]:
        """Return the test parts in `data`, and a function that computes the image AUROC in % from outputs."""
        parts = as_learned(read_test_parts(data), bundle)
        is_good = np.array([part.is_good for part in parts])

        def measure(answers: Sequence[Outputs]) -> float:
            found = np.array([float(scores(outputs)[0]) for outputs in answers])
            return 100 * image_auroc(found[is_good], found[~is_good])

        return part_cases(parts, bundle.manifest.picture), measure

    def evaluate(self, model: Path, data: Path, options: EvaluateOptions) -> Evaluated:
        """Return a bundle's figures on the test parts in `data`. Write the files that the options name."""
        progress = _progress(options.run) if options.run else None
        bundle = read_model(model)
        found = evaluate(bundle, data, EngineChoice())
        written = []
        if "image_auroc" not in found.figures:
            sort = "good" if "overkill" in found.figures else "defective"
            written.append(f"all test parts are {sort}, so there is no figure of how both are told apart")
        if options.verdicts:
            lines = (json.dumps({"part": name, "reject": reject}) for name, reject in found.rejected.items())
            options.verdicts.write_text("".join(line + "\n" for line in lines))
            written.append(f"verdicts in {options.verdicts}")
        if options.report:
            # Imported here because matplotlib is needed for a report only.
            from trt_build.figures.report import write_report

            page = write_report(
                options.report,
                title=f"{bundle.manifest.name}: {bundle.manifest.method} on {data.resolve().name}",
                judged=found.judged,
                calibration=bundle.manifest.calibration,
                figures={name: value for name, value in found.figures.items() if name not in IN_REPORT},
                facts=bundle.manifest.metadata,
                progress=progress,
            )
            written.append(f"report in {page}")
        return Evaluated(figures=found.figures, written=tuple(written))


def _progress(run: Path) -> Path:
    """Return the path of `progress.jsonl` in a training's folder. Raise DatasetError if it is not there."""
    from trt_build.methods.checkpoint import PROGRESS

    if not (run / PROGRESS).is_file():
        raise DatasetError(f"{run}: expected the folder of a training, with {PROGRESS} in it; found none")
    return run / PROGRESS
