"""The command `trt-build evaluate`, which measures how well a model judges labelled pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.bundle import read_model
from trt_build.commands.arguments import Data
from trt_build.methods.base import EvaluateOptions, Method, not_taken
from trt_build.methods.table import method_of
from trt_build.terminal.console import console, print_figures, print_table
from trt_build.terminal.progress import working
from trt_build.whole import writing


def evaluate(
    model: Annotated[
        Path,
        typer.Argument(
            help="Folder of a bundle, or the checkpoint.pt of a comparator in training.", show_default=False
        ),
    ],
    data: Data,
    chosen_on: Annotated[
        Path | None,
        typer.Option(
            help="Folder of pairs that a comparator was trained with. The cut for its boxes, or its thresholds "
            "if it was trained with masks, are chosen on the held-out pairs, so that the figures on other "
            "pairs are not too good."
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Folder to write a report to, with pictures of the worst mistakes.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="Folder of the training, to show its curves in the report.")
    ] = None,
    verdicts: Annotated[
        Path | None,
        typer.Option(
            help="File to write a line of JSON to for each part, with the verdict that a line should give."
        ),
    ] = None,
) -> None:
    """Print how well a model judges labelled pictures, in figures. A bundle runs on its fastest engine."""
    options = EvaluateOptions(chosen_on=chosen_on, report=report, run=run, verdicts=verdicts)
    with working("judging labelled pictures"):
        method = _method_of_model(model)
        for option in not_taken(options, method.evaluate_options):
            raise typer.BadParameter(f"does nothing for the method {method.name}", param_hint=option)
        with writing(report or verdicts or model):
            found = method.evaluate(model, data, options)
    print_figures("figure", found.figures)
    for table in found.tables:
        print_table(table.title, table.columns, table.rows)
    for line in found.written:
        console.print(line)


def _method_of_model(model: Path) -> Method:
    """Return the method of a bundle's folder or of a checkpoint's file.

    Raise CheckpointError if checkpoints of the method cannot be evaluated.
    """
    if not model.is_file():
        return method_of(read_model(model).manifest.method)
    from trt_build.methods.checkpoint import CheckpointError
    from trt_build.methods.trained import load_trained

    method = load_trained(model).method
    if not method.evaluates_checkpoints:
        raise CheckpointError(
            f"{model}: expected a comparator's checkpoint or a bundle, found a checkpoint of {method.name}: "
            "export, calibrate and pack it, then evaluate the bundle"
        )
    return method
