"""The command `trt-build verify`, which compares an engine with the FP32 reference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from edge.bundle import read_bundle
from edge.manifest import Precision
from edge.recipe import EngineChoice, Runtime
from trt_build.methods.table import method_of
from trt_build.terminal.console import console, print_figures
from trt_build.terminal.progress import working

if TYPE_CHECKING:
    from trt_build.engines.verify import Comparison


def verify(
    bundle: Annotated[Path, typer.Argument(help="Folder of the packed bundle to verify.", show_default=False)],
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder of labelled pictures to judge with both engines; left out, only the golden frames are."
        ),
    ] = None,
    engine: Annotated[
        Literal["auto", Runtime, "openvino", "onnxruntime"],
        typer.Option(
            help="Engine to compare with the reference; auto takes the one that a line would take here."
        ),
    ] = "auto",
    precision: Annotated[
        Literal["auto", Precision],
        typer.Option(help="Precision of that engine; auto takes the one that a line would take."),
    ] = "auto",
) -> None:
    """Compare an engine with the FP32 reference. The status is 1 if they differ by more than is allowed."""
    from trt_build.engines.verify import verify as verify_bundle

    read = read_bundle(bundle)
    cases, measure = method_of(read.manifest.method).labelled(data, read) if data else ((), lambda answers: 0.0)
    with working(f"judging {len(read.manifest.golden)} golden frames and what is labelled"):
        found = verify_bundle(read, EngineChoice(kind=engine, precision=precision), cases, measure)
    console.print(f"all {len(read.manifest.golden)} golden frames are reproduced")
    if found:
        print_comparison(read.manifest.method, found)


def print_comparison(method: str, found: Comparison) -> None:
    """Print how far an engine differs from its reference and, if there are labels, the quality of both."""
    print_figures(f"{found.engine}, largest difference", found.differences)
    if found.quality is None:
        return
    flipped = ", ".join(found.flipped) or "none"
    console.print(f"pictures decided otherwise: {len(found.flipped)} of {found.cases} ({flipped})")
    console.print(f"{method_of(method).quality}: {found.quality:.2f}, reference {found.reference:.2f}")
