"""The command `trt-build export`, which writes a checkpoint as ONNX graphs, the draft of a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer

from edge.bundle import Model, read_draft
from edge.manifest import Precision
from trt_build.methods.table import method_of
from trt_build.terminal.console import console, print_table
from trt_build.terminal.progress import working
from trt_build.whole import whole


def export(
    checkpoint: Annotated[
        Path, typer.Argument(help="The file checkpoint.pt that train wrote.", show_default=False)
    ],
    draft: Annotated[Path, typer.Argument(help="Folder to write the graphs to.", show_default=False)],
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder that was trained with, for INT8 calibration pictures; left out, no INT8 is written."
        ),
    ] = None,
    float8: Annotated[
        bool,
        typer.Option(
            "--fp8",
            help="Write an FP8 graph too, for Ada, Hopper and later GPUs; coarser than INT8. Needs --data.",
        ),
    ] = False,
    small: Annotated[
        bool,
        typer.Option(
            "--small",
            help="Store the FP32 graph's weights as FP16, which halves the file; it still computes in FP32.",
        ),
    ] = False,
    width: Annotated[
        int | None,
        typer.Option(
            min=32,
            help="Width of a comparator's input in pixels, a multiple of 32; left out, that of the pictures "
            "that it was trained with, as for all other methods.",
        ),
    ] = None,
    height: Annotated[
        int | None,
        typer.Option(
            min=32,
            help="Height of a comparator's input in pixels, a multiple of 32; left out, that of the pictures "
            "that it was trained with, as for all other methods.",
        ),
    ] = None,
) -> None:
    """Write a checkpoint as ONNX graphs. This makes a draft, for calibrate and pack.

    FP32 is always made, and FP16 for GPUs. With --data, INT8 is made twice: int8
    for CPUs, and int8_fp16 for GPUs, in which all else is FP16.
    """
    if float8 and not data:
        raise typer.BadParameter("needs --data, for calibration pictures", param_hint="--fp8")
    from trt_build.graphs.fp8 import add_fp8
    from trt_build.graphs.fp16 import add_fp16
    from trt_build.graphs.fp32 import export_checkpoint
    from trt_build.graphs.int8 import add_int8
    from trt_build.graphs.int8_fp16 import add_int8_fp16
    from trt_build.graphs.small_weights import round_weights, store_weights

    with whole(draft) as part:
        with working("exporting FP32"):
            export_checkpoint(checkpoint, part, height=height, width=width)
            if small:
                round_weights(part)
        manifest = read_draft(part).manifest
        pictures = method_of(manifest.method).calibration_pictures(data, manifest.picture) if data else []
        with working("converting to FP16"):
            add_fp16(part, pictures)
        if data:
            with working("quantising to INT8"):
                add_int8(part, pictures)
                add_int8_fp16(part)
        if float8:
            with working("quantising to FP8"):
                add_fp8(part)
        if small:
            store_weights(part)
    print_multiply_adds(read_draft(draft))
    console.print(f"draft in {draft}; next: trt-build calibrate")


def print_multiply_adds(model: Model) -> None:
    """Print how many multiply-adds each graph of a model needs for a picture, and the share of each type."""
    from trt_build.graphs.multiply_adds import multiply_adds, shares

    order = get_args(Precision)
    graphs = sorted(model.manifest.artifacts, key=lambda graph: (graph.role, order.index(graph.precision)))
    counts = {graph.path: multiply_adds(model.folder / graph.path) for graph in graphs}
    types = [one for one in ("FP32", "FP16", "INT8", "FP8") if any(count[one] for count in counts.values())]
    print_table(
        "multiply-adds of a picture, by the type in which a GPU multiplies",
        ("", "million", *(f"{one} %" for one in types)),
        [
            (path, sum(count.values()) / 1e6, *(shares(count)[one] for one in types))
            for path, count in counts.items()
        ],
    )
