"""The commands of `trt-build` that run where the line runs: engines for its device, and held against FP32."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from edge.bundle import Bundle, read_bundle
from edge.errors import EngineError
from edge.recipe import EngineChoice
from trt_build.methods.table import method_of
from trt_build.terminal.console import console, print_figures
from trt_build.terminal.progress import working

if TYPE_CHECKING:
    from trt_build.engines.build import Result
    from trt_build.engines.verify import Comparison

EngineKind = Literal["auto", "tensorrt", "tensorrt_rtx", "openvino", "onnxruntime"]


def verify(
    bundle: Annotated[Path, typer.Argument(help="Folder of the packed bundle to verify.", show_default=False)],
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder of labelled pictures to judge too, by either; left out, the golden frames alone."
        ),
    ] = None,
    engine: Annotated[
        EngineKind,
        typer.Option(
            help="Engine to hold against the reference; auto takes the one that a line would take here."
        ),
    ] = "auto",
    precision: Annotated[
        Literal["auto", "fp32", "fp16", "int8", "fp8"],
        typer.Option(help="Precision of that engine; auto takes the one that a line would take."),
    ] = "auto",
) -> None:
    """Hold an engine against the FP32 reference; status 1 where it differs by more than it may."""
    from trt_build.engines.verify import verify as verify_bundle

    read = read_bundle(bundle)
    cases, measure = method_of(read.manifest.method).labelled(data, read) if data else ((), lambda answers: 0.0)
    with working(f"judging {len(read.manifest.golden)} golden frames and what is labelled"):
        found = verify_bundle(read, EngineChoice(kind=engine, precision=precision), cases, measure)
    console.print(f"all {len(read.manifest.golden)} golden frames are reproduced")
    if found:
        _print_comparison(read.manifest.method, found)


def build(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Folder of a draft or a bundle; engines fit the kind of GPU that they are built on.",
            show_default=False,
        ),
    ],
    precision: Annotated[
        list[str] | None,
        typer.Option(
            help="Precision to build: fp32, fp16, int8 or fp8; may be given several times. Left out, all that "
            "the folder has but fp32."
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Most parts that the GPU judges in one go where they pile up; left out, 8 where the graph "
            "allows it. Larger takes more memory.",
        ),
    ] = None,
    runtime: Annotated[
        Literal["auto", "tensorrt", "tensorrt_rtx"],
        typer.Option(
            help="Library to compile with and to run on: TensorRT, or TensorRT for RTX; auto takes what "
            "is installed."
        ),
    ] = "auto",
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder of labelled pictures to judge by each engine and by the reference; left out, the "
            "golden frames alone."
        ),
    ] = None,
    portable: Annotated[
        bool,
        typer.Option(
            help="Build engines that later TensorRT versions of the same major number load too; slower."
        ),
    ] = False,
    stripped: Annotated[
        bool,
        typer.Option(
            help="Leave the weights out of the engine's file, which makes it small; they are read from the "
            "graph each time that the line starts."
        ),
    ] = False,
) -> None:
    """Compile a model for the GPU that is here; an engine that judges otherwise is deleted, with status 1.

    A draft is then calibrated, by the scores of its engine, and packed;
    a bundle is ready for the line.
    """
    from trt_build.engines import build as building
    from trt_build.engines.tensorrt_builder import Asked

    read = read_bundle(folder)
    refused = 0
    try:
        with building.target_here(building.chosen_runtime(runtime)) as here:
            console.print(f"for {here}")
            precisions = building.chosen_precisions(read, precision or [], here)
            asked = Asked(batch=batch, portable=portable, stripped=stripped)
            verified = here.compute_capability is not None
            # A method needs more libraries than a line has, so it is imported only where there is data.
            method = method_of(read.manifest.method) if data else None
            check = building.check_of(read, method, data) if verified else None
            console.print(f"kernels: {building.kernels_beside(read)}")
            for result in building.build_engines(read, precisions, here, asked, check):
                _print_result(read, result, verified=verified)
                refused += bool(result.refused)
    except KeyboardInterrupt:
        console.print("stopped; of what was not finished nothing is left")
        raise typer.Exit(130) from None
    if refused:
        raise EngineError(f"{refused} of {len(precisions)} engines judge otherwise and were deleted; see above")
    console.print("next: " + ("edge run" if read.manifest.golden else "trt-build calibrate"))


def _print_result(read: Bundle, result: Result, *, verified: bool) -> None:
    """What was built, and whether it is kept."""
    for one in result.built:
        size = f"{one.engine.file.bytes / 2**20:.1f} MiB, batches of up to {one.engine.batch}"
        console.print(f"{one.engine.file.path}: {'up to date' if one.up_to_date else 'built'}, {size}")
    if result.refused:
        console.print(f"{result.precision}: deleted: {result.refused}")
    elif not verified:
        console.print(f"{result.precision}: built, not verified: no GPU here")
    elif read.manifest.golden:
        console.print(f"{result.precision}: kept: all {len(read.manifest.golden)} golden frames are reproduced")
    else:
        console.print(f"{result.precision}: kept: it computes what its graph says")
    if result.found:
        _print_comparison(read.manifest.method, result.found)


def _print_comparison(method: str, found: Comparison) -> None:
    print_figures(f"{found.engine}, largest difference", found.differences)
    if found.quality is None:
        return
    flipped = ", ".join(found.flipped) or "none"
    console.print(f"pictures decided otherwise: {len(found.flipped)} of {found.cases} ({flipped})")
    console.print(f"{method_of(method).quality}: {found.quality:.2f}, reference {found.reference:.2f}")
