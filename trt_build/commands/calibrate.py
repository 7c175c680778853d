"""The command `trt-build calibrate`, which sets a draft's threshold from good parts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from edge.bundle import read_draft
from trt_build.commands.arguments import Data
from trt_build.methods.table import method_of
from trt_build.terminal.console import console, print_figures
from trt_build.terminal.progress import working


def calibrate(
    draft: Annotated[Path, typer.Argument(help="Folder of the draft that export wrote.", show_default=False)],
    data: Data,
    rate: Annotated[
        float, typer.Option(help="Share of good parts that may be rejected, 0 to 1; 0.05 is one in twenty.")
    ] = 0.05,
    how: Annotated[
        Literal["conformal", "conditional", "extrapolated"],
        typer.Option(
            help="How the threshold keeps --rate: on average (conformal), with the probability --confidence "
            "(conditional), or by an estimate from the highest scores, if there are too few parts for either "
            "(extrapolated)."
        ),
    ] = "conformal",
    confidence: Annotated[
        float, typer.Option(help="Probability, 0 to 1, that --rate is kept; for --how conditional only.")
    ] = 0.95,
    similarity: Annotated[
        float | None,
        typer.Option(
            min=-1,
            max=1,
            help="For a matcher, instead of --rate: lowest similarity (cosine, -1 to 1) at which a photo shows "
            "the product of a drawing. Han (2022) takes 0.5.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Set a draft's threshold on pictures that were not trained with, by the engine that will judge.

    A comparator gets a threshold for each kind of defect: the one that best
    separates true from false boxes on held-out pairs or, if it was trained with
    masks, defective from good parts. It promises no rate.
    """
    from trt_build.packing.threshold import CalibrationOptions

    manifest = read_draft(draft).manifest
    method = method_of(manifest.method)
    if similarity is not None and not manifest.matches_drawings:
        raise typer.BadParameter(f"does nothing for the method {method.name}", param_hint="--similarity")
    with working("judging held-out pictures"):
        options = CalibrationOptions(rate=rate, how=how, confidence=confidence, similarity=similarity)
        calibration = method.calibrate(draft, data, options)
    print_figures("threshold", read_draft(draft).thresholds)
    if calibration:
        console.print(f"{calibration.note} ({calibration.n} good parts on {calibration.engine})")
    console.print("next: trt-build pack")
