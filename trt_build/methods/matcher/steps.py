"""Products with their drawings and photos through the steps of the matcher."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.bundle import Bundle, read_bundle
from edge.engines.base import Outputs
from edge.judges.golden import scores
from edge.manifest import Calibration, InputSpec
from edge.recipe import EngineChoice
from trt_build.data.cases import Case, evenly, judge_all
from trt_build.data.errors import DatasetError
from trt_build.data.products import DRAWING, PHOTO, Pictures, read_products, split_products
from trt_build.engines.verify import Measure
from trt_build.figures.ranking import escape_and_overkill, image_auroc
from trt_build.figures.thresholds import last_passed
from trt_build.packing.threshold import CalibrationOptions, set_threshold

Scores = npt.NDArray[np.float32]

HELD_OUT = 0.2  # of the products
RANGES = 100  # pictures that show INT8 its ranges
GOLDEN = 8  # products of which golden cases are taken


def learned(data: Path, spec: InputSpec) -> tuple[Pictures, Pictures]:
    """Pictures of the products to train with, and of those that are kept from it."""
    return split_products(read_products(data, spec), held_out=HELD_OUT)


def held_out(data: Path, spec: InputSpec) -> Pictures:
    """Pictures of the products that are kept from training, of two at least."""
    kept = learned(data, spec)[1]
    if (found := len(np.unique(kept.product))) < 2:
        raise DatasetError(
            f"{data}: of so few products {found} were kept from training, and with fewer than two nothing is "
            "known of others: give more, about 25"
        )
    return kept


def ranges(data: Path, spec: InputSpec) -> list[Case]:
    """Pictures that were trained with, evenly chosen."""
    pictures = learned(data, spec)[0].pictures
    return [Case(name=str(i), image=pictures[i : i + 1]) for i in evenly(range(len(pictures)), RANGES)]


def calibrate(draft: Path, data: Path, options: CalibrationOptions) -> Calibration:
    """Set the draft's threshold by photos of products that were not trained with, and their own drawings."""
    pictures = held_out(data, read_bundle(draft).manifest.input)
    return set_threshold(draft, _cases(pictures, same=True), options)


def kept(data: Path, spec: InputSpec) -> Iterator[Case]:
    """Photos of some products that were not trained with, each with another's drawing and with its own."""
    pictures = held_out(data, spec)
    some = pictures.where(np.isin(pictures.product, np.unique(pictures.product)[:GOLDEN]))
    for same in (False, True):
        for case in _cases(some, same=same):
            yield replace(case, master=None if case.master is None else case.master[:1])


def labelled(data: Path, bundle: Bundle) -> tuple[Iterator[Case], Measure]:
    """As `kept`, of all products and drawings, and the AUROC of telling products apart, in points."""

    def measure(answers: Sequence[Outputs]) -> float:
        return 100 * image_auroc(*_own_and_other(answers))

    return _own_then_other(held_out(data, bundle.manifest.input)), measure


def evaluate(bundle: Bundle, data: Path, choice: EngineChoice) -> dict[str, float]:
    """The figures of all products that were not trained with, in 0..1, by the bundle's threshold."""
    (threshold,) = bundle.manifest.thresholds.values()
    cases = list(_own_then_other(held_out(data, bundle.manifest.input)))
    own, other = _own_and_other(judge_all(bundle, choice, cases))
    escapes, overkill = escape_and_overkill(own, other, last_passed(threshold))
    return {"auroc": image_auroc(own, other), "escape": escapes.rate, "overkill": overkill.rate}


def _own_then_other(pictures: Pictures) -> Iterator[Case]:
    """All photos with their own drawings, then all with those of others."""
    for same in (True, False):
        yield from _cases(pictures, same=same)


def _own_and_other(answers: Sequence[Outputs]) -> tuple[Scores, Scores]:
    """The scores of either half of the answers."""
    found = np.array([scores(outputs)[0] for outputs in answers])
    return found[: len(found) // 2], found[len(found) // 2 :]


def _cases(pictures: Pictures, *, same: bool) -> Iterator[Case]:
    """Each photo with the drawings of its product, or with those of the next product."""
    products = np.unique(pictures.product)
    for photo in np.flatnonzero(pictures.hand == PHOTO):
        at = int(np.searchsorted(products, pictures.product[photo]))
        shown = products[at if same else (at + 1) % len(products)]
        name = pictures.names[pictures.product[photo]].replace("/", "-")
        yield Case(
            name=f"{name}-{photo}{'' if same else '-other'}",
            image=pictures.pictures[photo : photo + 1],
            master=pictures.pictures[(pictures.product == shown) & (pictures.hand == DRAWING)],
        )
