"""The command `trt-build build`, which compiles a model for the GPU of the machine that it runs on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from edge.bundle import Bundle, Model, read_model
from edge.errors import EngineError
from edge.recipe import EngineChoice, Runtime
from trt_build.commands.verify import print_comparison
from trt_build.methods.table import method_of
from trt_build.terminal.console import console

if TYPE_CHECKING:
    from edge.engines.compiled import Measured
    from trt_build.engines.build import Result


def build(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Folder of a draft or a bundle; its engines run on the kind of GPU that they are built on.",
            show_default=False,
        ),
    ],
    precision: Annotated[
        list[str] | None,
        typer.Option(
            help="Precision to build: fp32, fp16, int8, int8_fp16 or fp8; may be given several times. Left "
            "out, all of the folder except fp32, and except int8 if there is int8_fp16."
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Largest number of waiting parts, or of a part's tiles, that the GPU judges at once; left "
            "out, 8 or all tiles of a part, if the graph allows it. A larger number takes more memory.",
        ),
    ] = None,
    runtime: Annotated[
        Literal["auto", Runtime],
        typer.Option(
            help="Library to compile with and to run on, TensorRT or TensorRT for RTX; auto takes the one that "
            "is installed."
        ),
    ] = "auto",
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder of labelled pictures to judge with each engine and with the reference; left out, only "
            "the golden frames are."
        ),
    ] = None,
    portable: Annotated[
        bool,
        typer.Option(
            help="Build slower engines, which later TensorRT versions of the same major version load too."
        ),
    ] = False,
    stripped: Annotated[
        bool,
        typer.Option(
            help="Leave the weights out of the engine file, which makes it small; the line reads them from the "
            "graph each time it starts."
        ),
    ] = False,
) -> None:
    """Compile a model for this machine's GPU. Delete engines that judge differently; the status is then 1.

    The next step for a draft is calibrate, which then uses the new engine.
    A bundle is ready for the line.
    """
    from trt_build.engines import build as building
    from trt_build.engines.tensorrt_builder import BuildOptions

    read = read_model(folder)
    refused = 0
    times: dict[str, Measured] = {}
    try:
        with building.target_here(building.chosen_runtime(runtime)) as here:
            console.print(f"for {here}")
            precisions = building.chosen_precisions(read, precision or [], here)
            options = BuildOptions(batch=batch, portable=portable, stripped=stripped)
            verified = here.compute_capability is not None
            # A method needs more libraries than a line has, so it is imported only if there is data.
            method = method_of(read.manifest.method) if data else None
            check = building.check_of(read, method, data) if verified else None
            console.print(f"kernels: {building.kernels_beside(read)}")
            for result in building.build_engines(read, precisions, here, options, check):
                _print_result(read, result, verified=verified)
                refused += bool(result.refused)
                if result.measured:
                    times[result.precision] = result.measured
            if times:
                _print_times(read, here.runtime, times)
    except KeyboardInterrupt:
        console.print("stopped; of what was not finished nothing is left")
        raise typer.Exit(130) from None
    if refused:
        raise EngineError(f"{refused} of {len(precisions)} engines judge otherwise and were deleted; see above")
    console.print("next: " + ("edge run" if isinstance(read, Bundle) else "trt-build calibrate"))


def _print_times(read: Model, runtime: Runtime, times: dict[str, Measured]) -> None:
    """Print how long each precision takes, the fastest first, and which one a line takes."""
    from edge.engines import select_engine

    console.print(f"time of one part, median of {next(iter(times.values())).runs} runs:")
    for precision, time in sorted(times.items(), key=lambda row: row[1].ms):
        other = time.for_batches_ms
        by_others = f", {other:.3f} ms by the kernels for a full batch" if other else ""
        console.print(f"  {precision:<10}{time.ms:9.3f} ms{by_others}")
    taken = select_engine(EngineChoice(kind=runtime), read)
    console.print(f"a line with engine.precision 'auto' takes {taken.precision}")


def _print_result(read: Model, result: Result, *, verified: bool) -> None:
    """Print which engines were built in one precision, and whether they are kept."""
    for one in result.built:
        size = f"{one.engine.file.bytes / 2**20:.1f} MiB, batches of up to {one.engine.batch}"
        console.print(f"{one.engine.file.path}: {'up to date' if one.up_to_date else 'built'}, {size}")
    if result.refused:
        console.print(f"{result.precision}: deleted: {result.refused}")
    elif not verified:
        console.print(f"{result.precision}: built, not verified: no GPU here")
    elif isinstance(read, Bundle):
        console.print(f"{result.precision}: kept: all {len(read.manifest.golden)} golden frames are reproduced")
    else:
        console.print(f"{result.precision}: kept: it computes what its graph says")
    if result.found:
        print_comparison(read.manifest.method, result.found)
