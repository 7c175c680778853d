"""Folders of good and bad parts through the steps of the methods that know only good ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from edge.bundle import Bundle, read_bundle
from edge.engines.base import Outputs
from edge.judges.golden import scores
from edge.manifest import Calibration, InputSpec
from trt_build.data.cases import Case, evenly, part_cases
from trt_build.data.parts import read_parts, split_good
from trt_build.engines.verify import Measure
from trt_build.figures.parts import read_test_parts
from trt_build.figures.ranking import image_auroc
from trt_build.packing.threshold import CalibrationOptions, set_threshold

RANGES = 100  # pictures that show INT8 its ranges
GOLDEN = 12  # of each sort, from which the golden cases are taken


def ranges(data: Path, spec: InputSpec) -> list[Case]:
    """Good parts that were trained with, evenly chosen."""
    fit = split_good(read_parts(data, mixed_sizes=True).train).fit
    return list(part_cases(evenly(fit, RANGES), spec))


def calibrate(draft: Path, data: Path, options: CalibrationOptions) -> Calibration:
    """Set the draft's threshold by the good parts that are kept for that."""
    spec = read_bundle(draft).manifest.input
    kept = split_good(read_parts(data, mixed_sizes=True).train).calibration
    return set_threshold(draft, part_cases(kept, spec), options)


def kept(data: Path, spec: InputSpec) -> Iterator[Case]:
    """Some parts that were not trained with, bad and good."""
    parts = read_parts(data, mixed_sizes=True)
    good = split_good(parts.train).calibration
    bad = [part for part in parts.test if not part.is_good]
    return part_cases([*evenly(bad, GOLDEN), *evenly(good, GOLDEN)], spec)


def labelled(data: Path, bundle: Bundle) -> tuple[Iterator[Case], Measure]:
    """The test parts of a folder, and the image AUROC of the answers to them, in points."""
    parts = read_test_parts(data)
    is_good = np.array([part.is_good for part in parts])

    def measure(answers: Sequence[Outputs]) -> float:
        found = np.array([float(scores(outputs)[0]) for outputs in answers])
        return 100 * image_auroc(found[is_good], found[~is_good])

    return part_cases(parts, bundle.manifest.input), measure
