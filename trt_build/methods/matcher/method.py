"""Makes the matcher available to the commands of `trt-build`. Reads folders of drawings and photos."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edge.bundle import Bundle, read_draft, read_model
from edge.engines.base import Outputs
from edge.judges.golden import scores
from edge.manifest import Calibration, InputSpec, rejected_below
from edge.recipe import EngineChoice
from trt_build.data.cases import Case, evenly
from trt_build.data.products import DRAWING, PHOTO, Pictures
from trt_build.engines.saturation import checked_int8, order_lost
from trt_build.engines.verify import Measure
from trt_build.figures.ranking import image_auroc
from trt_build.methods.base import Evaluated, EvaluateOptions, Exportable, Method, MethodName
from trt_build.methods.matcher.evaluate import look_up_all
from trt_build.methods.matcher.split import held_out_pictures, split_pictures
from trt_build.packing.threshold import CalibrationOptions, set_threshold, write_thresholds

if TYPE_CHECKING:
    from trt_build.methods.matcher.network import Matcher

Scores = npt.NDArray[np.float32]

CALIBRATION_PICTURES = 100
GOLDEN = 8  # products from whose photos the golden frames are chosen


class MatcherMethod:
    """Judges a part by comparing a photo of the part with the drawings of its product."""

    name: MethodName = "matcher"
    evaluate_options: frozenset[str] = frozenset()
    quality = "AUROC"
    evaluates_checkpoints = False

    def build(self, config: Mapping[str, Any]) -> Matcher:
        """Return the network that a checkpoint's `config` describes, without its trained weights."""
        from trt_build.methods.matcher.network import Matcher, MatcherConfig

        return Matcher(MatcherConfig(**config))

    def exportable(self, network: Matcher, *, height: int, width: int) -> Exportable:
        """Return the network as one graph. The picture size given here is ignored: training has fixed it."""
        return Exportable(input=network.config.spec, kinds=("product",), outputs=("embedding",), judge=network)

    def calibration_pictures(self, data: Path, spec: InputSpec) -> list[Case]:
        """Return up to 100 training pictures, evenly spread over the data set. INT8 is calibrated on them."""
        pictures = split_pictures(data, spec).train.pictures
        chosen = evenly(range(len(pictures)), CALIBRATION_PICTURES)
        return [Case(name=str(i), image=pictures[i : i + 1]) for i in chosen]

    def calibrate(self, draft: Path, data: Path, options: CalibrationOptions) -> Calibration | None:
        """Set the draft's threshold with photos of held-out products and the drawings of the same products.

        If `options.similarity` is given, the threshold follows from it alone and promises no rate. INT8 graphs
        that rank these photos in another order than FP32 are deleted from the draft in both cases.
        """
        source = read_draft(draft)
        cases = list(_cases(held_out_pictures(data, source.manifest.input), same=True))
        if options.similarity is None:
            return set_threshold(draft, cases, options)
        checked_int8(source, cases, order_lost)
        write_thresholds(draft, {"product": rejected_below(options.similarity)}, None)
        return None

    def held_out(self, data: Path, spec: InputSpec) -> Iterator[Case]:
        """Yield photos of up to 8 held-out products, with another product's drawing, then with their own."""
        pictures = held_out_pictures(data, spec)
        some = pictures.where(np.isin(pictures.product, np.unique(pictures.product)[:GOLDEN]))
        for same in (False, True):
            for case in _cases(some, same=same):
                yield replace(case, master=None if case.master is None else case.master[:1])

    def labelled(self, data: Path, bundle: Bundle) -> tuple[Iterator[Case], Measure]:
        """Return photos, each with drawings, and a function that computes the AUROC in % from their outputs.

        The photos show held-out products, which were not used for training. Each photo is returned twice: with
        the drawings of its own product, and with those of another product.
        """

        def measure(answers: Sequence[Outputs]) -> float:
            return 100 * image_auroc(*_own_and_other(answers))

        return _own_then_other(held_out_pictures(data, bundle.manifest.input)), measure

    def evaluate(self, model: Path, data: Path, options: EvaluateOptions) -> Evaluated:
        """Return how well a bundle judges photos that were not used for training.

        AUROC, escape and overkill are of products that were not used for training either. The tables are of
        these (open set), and of the products that were (closed set).
        """
        bundle = read_model(model)
        found = look_up_all(bundle, data, EngineChoice())
        return Evaluated(figures=found.figures(bundle), tables=found.tables())


def _own_then_other(pictures: Pictures) -> Iterator[Case]:
    """Yield all photos with drawings of their own product, and after that all with drawings of another."""
    for same in (True, False):
        yield from _cases(pictures, same=same)


def _own_and_other(answers: Sequence[Outputs]) -> tuple[Scores, Scores]:
    """Return the scores of the first half of the outputs and of the second half, each as `(N,)` float32."""
    found = np.array([scores(outputs)[0] for outputs in answers])
    return found[: len(found) // 2], found[len(found) // 2 :]


def _cases(pictures: Pictures, *, same: bool) -> Iterator[Case]:
    """Yield each photo with the drawings of its own product if `same`, otherwise with those of another."""
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


METHOD: Method = MatcherMethod()
