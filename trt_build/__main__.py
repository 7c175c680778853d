"""The command line `trt-build`: from pictures to a verified model bundle."""

from __future__ import annotations

import logging
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from edge.bundle import Bundle, read_bundle
from edge.errors import BundleError, EdgeError, EngineError
from edge.recipe import EngineChoice

if TYPE_CHECKING:
    from trt_build.building import Result
    from trt_build.verify import Comparison

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Make model bundles for Linejudge.\n\n"
    "train, export, calibrate, pack, verify: one after another, each with the same folder of pictures.\n\n"
    "comparator: pairs laid out like DeepPCB: <id>_temp.* is the master, <id>_test.* the board of the same "
    "size, <id>.txt one defect a line (x1 y1 x2 y2 type).\n\n"
    "autoencoder, stpm, pfm: good parts, laid out like MVTec AD: train/good/*, and for evaluate "
    "test/good/*, test/<kind>/*, ground_truth/<kind>/<id>_mask.png.\n\n"
    "matcher: products: <product>/drawing*.png and <product>/photo*.png.\n\n"
    "Which pictures are kept from training is decided by their names.",
)
console = Console(highlight=False, soft_wrap=True, markup=False)

Data = Annotated[
    Path, typer.Argument(help="Folder of pictures, laid out as the method needs them.", show_default=False)
]
MethodArgument = Annotated[
    Literal["comparator", "matcher", "autoencoder", "stpm", "pfm"],
    typer.Argument(help="How parts are to be judged.", show_default=False),
]
EngineKind = Literal["auto", "tensorrt", "tensorrt_rtx", "openvino", "onnxruntime"]
#: What the extra `build` brings, by the name it is imported by.
BUILD_LIBRARIES = {"matplotlib", "ml_dtypes", "modelopt", "onnx", "onnxruntime", "onnxscript"}
BUILD_LIBRARIES |= {"safetensors", "scipy", "torch"}


@app.command()
def render(
    folder: Annotated[Path, typer.Argument(help="Where to write the pairs.", show_default=False)],
    boards: Annotated[int, typer.Option(min=1, help="How many.")] = 1000,
    size: Annotated[int, typer.Option(min=64, help="Width and height in pixels.")] = 640,
    seed: Annotated[int, typer.Option(min=0, help="Sets of different seeds share no board design.")] = 0,
) -> None:
    """Render boards with known defects as labelled pairs, for a first model without pictures of your own."""
    from trt_build.pairs import write_pairs

    with console.status(f"rendering {boards} boards"):
        write_pairs(folder, boards, size, seed)


@app.command()
def fetch_backbone(
    name: Annotated[
        str, typer.Argument(help="resnet18, resnet34, resnet50 or wide_resnet50_2.", show_default=False)
    ],
) -> None:
    """Download a pre-trained network from its publisher and verify it; train finds it by its name."""
    from trt_build.published import fetch_backbone as fetch

    console.print(f"{name} is in {fetch(name)}")


@app.command()
def train(
    method: MethodArgument,
    data: Data,
    folder: Annotated[
        Path,
        typer.Argument(help="Where the checkpoint goes; a run that was stopped goes on.", show_default=False),
    ],
    epochs: Annotated[int | None, typer.Option(min=1, help="Times that all pictures are seen.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same training.")] = 0,
    backbone: Annotated[
        str | None, typer.Option(help="Pre-trained network to start from; see fetch-backbone.")
    ] = None,
    second: Annotated[
        str | None, typer.Option(help="The other one: of pfm, or of stpm's second pair, which it adds.")
    ] = None,
    position: Annotated[
        bool, typer.Option(help="Tell pfm where in the picture a place lies: for parts that all lie alike.")
    ] = False,
    mixed_sizes: Annotated[
        bool, typer.Option(help="Pictures of good parts may differ in size; each is resampled.")
    ] = False,
) -> None:
    """Train a model. Needs the extra `build`; uses the CPU."""
    try:
        from trt_build.training import Asked, train_method

        asked = Asked(
            epochs=epochs,
            seed=seed,
            backbone=backbone,
            second=second,
            position=position,
            mixed_sizes=mixed_sizes,
        )
        train_method(method, data, folder, asked)
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on from the last epoch that was kept")
        raise typer.Exit(130) from None


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Argument(help="checkpoint.pt of a training.", show_default=False)],
    draft: Annotated[Path, typer.Argument(help="Folder for the graphs.", show_default=False)],
    data: Annotated[
        Path | None,
        typer.Option(help="What was trained with, to show INT8 its ranges; without it there is no INT8."),
    ] = None,
    float8: Annotated[
        bool, typer.Option("--fp8", help="FP8 too, for GPUs that have it; coarser than INT8.")
    ] = False,
    width: Annotated[int, typer.Option(min=32, help="Of a comparator's input; a multiple of 32.")] = 640,
    height: Annotated[int, typer.Option(min=32, help="Likewise.")] = 640,
) -> None:
    """Turn a checkpoint into ONNX graphs, FP32, FP16 and INT8: a draft, for `calibrate` and then `pack`."""
    if float8 and not data:
        raise typer.BadParameter("needs --data, whose ranges it takes", param_hint="--fp8")
    from trt_build.export_onnx import export_checkpoint
    from trt_build.float8 import float8 as add_float8
    from trt_build.halve import halve
    from trt_build.quantize import quantize

    with console.status("exporting FP32"):
        export_checkpoint(checkpoint, draft, height=height, width=width)
    manifest = read_bundle(draft).manifest
    shown = _steps(manifest.method).ranges(data, manifest.input) if data else []
    with console.status("halving to FP16"):
        halve(draft, shown)
    if data:
        with console.status("rounding to INT8"):
            quantize(draft, shown)
    if float8:
        with console.status("rounding to FP8"):
            add_float8(draft)
    console.print(f"draft in {draft}; next: trt-build calibrate")


@app.command()
def calibrate(
    draft: Annotated[Path, typer.Argument(help="Folder that `export` wrote.", show_default=False)],
    data: Data,
    rate: Annotated[float, typer.Option(help="Good parts that may be rejected.")] = 0.05,
    how: Annotated[
        Literal["conformal", "conditional", "extrapolated"],
        typer.Option(help="Kept on average, kept with `--confidence`, or read off the tail's shape."),
    ] = "conformal",
    confidence: Annotated[float, typer.Option(help="That the rate is kept, if conditional.")] = 0.95,
) -> None:
    """Set a draft's threshold by pictures that are used for nothing else, on the engine that will judge.

    A comparator's thresholds are those that best tell its kinds of defect on the pairs kept from training; they
    promise no rate.
    """
    from trt_build.promise import Promise

    method = read_bundle(draft).manifest.method
    with console.status("judging pictures kept for this"):
        promise = Promise(rate=rate, how=how, confidence=confidence)
        said = _steps(method).calibrate(draft, data, promise)
    _print_figures("threshold", read_bundle(draft).manifest.thresholds)
    if said:
        console.print(f"{said.note} ({said.n} good parts on {said.engine})")
    console.print("next: trt-build pack")


@app.command()
def pack(
    draft: Annotated[Path, typer.Argument(help="Folder that `calibrate` has set.", show_default=False)],
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder; it may not exist.", show_default=False)],
    data: Annotated[
        Path, typer.Option(help="What was trained with: tolerances are measured on the part kept.")
    ],
    golden: Annotated[
        Path | None, typer.Option(help="A comparator's golden frames come from these pairs instead.")
    ] = None,
    masters: Annotated[
        Path | None, typer.Option(help="Folder of masters to put in, <view>.png each; else recipes name them.")
    ] = None,
    precision: Annotated[
        Literal["fp32", "fp16", "int8", "fp8"] | None,
        typer.Option(help="Leave out the graphs in every other precision."),
    ] = None,
    notice: Annotated[Path | None, typer.Option(help="Text file with licences and credits to put in.")] = None,
) -> None:
    """Make a bundle of a draft: golden frames with tolerances, masters, digests."""
    from trt_build.cases import pair_cases
    from trt_build.dataset import read_pairs
    from trt_build.pack import pack as pack_bundle

    manifest = read_bundle(draft).manifest
    with console.status("judging pictures kept from training"):
        packed = pack_bundle(
            draft,
            bundle,
            cases=_steps(manifest.method).kept(data, manifest.input),
            golden=pair_cases(read_pairs(golden), manifest.input) if golden else (),
            masters=_by_view(masters) if masters else {},
            precision=precision,
            notice=notice.read_text() if notice else "",
        )
    console.print(f"bundle {packed.folder}, SHA-256 {packed.digest}")


@app.command()
def verify(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder.", show_default=False)],
    data: Annotated[
        Path | None, typer.Option(help="Labelled pictures to judge after the golden frames.")
    ] = None,
    engine: Annotated[EngineKind, typer.Option(help="The engine to hold against the reference.")] = "auto",
    precision: Annotated[
        Literal["auto", "fp32", "fp16", "int8", "fp8"], typer.Option(help="Of that engine.")
    ] = "auto",
) -> None:
    """Hold an engine against the FP32 reference; status 1 where it differs by more than it may."""
    from trt_build.verify import verify as verify_bundle

    read = read_bundle(bundle)
    cases, measure = _steps(read.manifest.method).labelled(data, read) if data else ((), lambda answers: 0.0)
    with console.status(f"judging {len(read.manifest.golden)} golden frames and what is labelled"):
        found = verify_bundle(read, EngineChoice(kind=engine, precision=precision), cases, measure)
    console.print(f"all {len(read.manifest.golden)} golden frames are reproduced")
    if found:
        _print_comparison(read.manifest.method, found)


@app.command()
def build(
    folder: Annotated[
        Path,
        typer.Argument(help="A draft's or a bundle's folder, on the device of the line.", show_default=False),
    ],
    precision: Annotated[
        list[str] | None,
        typer.Option(help="fp16, int8, fp8 or fp32, or several; without it all that there are but fp32."),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            min=1, help="Parts that are judged at once where they pile up; 8 where the graph allows it."
        ),
    ] = None,
    runtime: Annotated[
        Literal["auto", "tensorrt", "tensorrt_rtx"],
        typer.Option(help="Whose engines; `auto`: what is installed."),
    ] = "auto",
    data: Annotated[
        Path | None, typer.Option(help="Labelled pictures to judge with each engine and with the reference.")
    ] = None,
    portable: Annotated[bool, typer.Option(help="For later versions of the same major, too; slower.")] = False,
    stripped: Annotated[
        bool, typer.Option(help="Small files: weights are taken from the graph when an engine is loaded.")
    ] = False,
) -> None:
    """Compile a model for the GPU that is here; an engine that judges otherwise is deleted, with status 1.

    A draft is calibrated and packed after this, by the scores of its engine; a bundle is ready for the line.
    """
    from trt_build import building
    from trt_build.build_engine import Asked

    read = read_bundle(folder)
    refused = 0
    try:
        with building.target_here(building.chosen_runtime(runtime)) as here:
            console.print(f"for {here}")
            precisions = building.chosen_precisions(read, precision or [], here)
            asked = Asked(batch=batch, portable=portable, stripped=stripped)
            verified = here.compute_capability is not None
            # What takes data through the steps needs more than a line has, so it comes in with data only.
            steps = _steps(read.manifest.method) if data else None
            check = building.check_of(read, steps, data) if verified else None
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
    _print_figures(f"{found.engine}, largest difference", found.differences)
    if found.quality is None:
        return
    flipped = ", ".join(found.flipped) or "none"
    console.print(f"pictures decided otherwise: {len(found.flipped)} of {found.cases} ({flipped})")
    what = "AP at IoU 0.33" if method == "comparator" else "AUROC"
    console.print(f"{what}: {found.quality:.2f}, reference {found.reference:.2f}")


@app.command()
def evaluate(
    model: Annotated[
        Path, typer.Argument(help="A bundle's folder, or a comparator's checkpoint.pt.", show_default=False)
    ],
    data: Data,
    chosen_on: Annotated[
        Path | None,
        typer.Option(help="Training pairs: a comparator's cut is chosen on the part kept from training."),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Folder for a report with pictures of the worst.")] = None,
    run: Annotated[
        Path | None, typer.Option(help="The training's folder, whose curves go into the report.")
    ] = None,
    verdicts: Annotated[
        Path | None, typer.Option(help="File for one line of JSON a part: what the line should say of it.")
    ] = None,
) -> None:
    """Print a model's figures on labelled pictures; a bundle is run on its fastest engine."""
    from trt_build import examine

    method = "comparator" if model.is_file() else read_bundle(model).manifest.method
    with console.status("judging labelled pictures"):
        if method == "comparator":
            _refuse(method, run=run, verdicts=verdicts)
            found = examine.examine_boards(model, data, chosen_on=chosen_on, report=report)
        elif method == "matcher":
            _refuse(method, chosen_on=chosen_on, report=report, run=run, verdicts=verdicts)
            found = examine.examine_products(model, data)
        else:
            _refuse(method, chosen_on=chosen_on)
            found = examine.examine_parts(model, data, report=report, run=run, verdicts=verdicts)
    _print_figures("figure", found.figures)
    for line in found.written:
        console.print(line)


def _by_view(masters: Path) -> dict[str, Path]:
    found = {path.stem: path for path in sorted(masters.glob("*.png"))}
    if not found:
        raise BundleError(f"{masters}: expected masters, <view>.png each, found none")
    return found


def _refuse(method: str, **options: object) -> None:
    """An option that does nothing for a method is a mistake, not a wish that may be ignored."""
    for name, value in options.items():
        if value is not None:
            raise typer.BadParameter(
                f"does nothing for the method {method}", param_hint=f"--{name.replace('_', '-')}"
            )


def _steps(method: str) -> Any:
    """The module that takes this method's data through the steps."""
    return import_module(f"trt_build.{ {'comparator': 'boards', 'matcher': 'products'}.get(method, 'parts') }")


def _print_figures(title: str, values: dict[str, float]) -> None:
    table = Table(title, "", show_edge=False)
    for name, value in values.items():
        table.add_row(name, f"{value:.3f}")
    console.print(table)


def main() -> None:
    """Run the command line; what a person can mend is one line on stderr and status 1."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    logging.getLogger("edge").setLevel(logging.INFO)
    try:
        app(prog_name="trt-build")
    except EdgeError as error:
        print("trt-build:", " ".join(str(error).split()), file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        if error.filename is None:
            raise
        print(f"trt-build: {error.filename}: {error.strerror}", file=sys.stderr)
        sys.exit(1)
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in BUILD_LIBRARIES:
            raise
        print(f"trt-build: {library} is not installed: pip install 'linejudge[build]'", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
