"""The command line `trt-build`: from pictures to a verified model bundle."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from edge.bundle import read_bundle
from edge.errors import BundleError, EdgeError
from trt_build.console import console, print_figures
from trt_build.engine_commands import build, verify
from trt_build.steps import steps_of

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Make model bundles for Linejudge.\n\n"
    "train, export, calibrate, pack, verify: one after another, each with the same folder of pictures; on a "
    "machine with an NVIDIA GPU, build before calibrate, or of a packed bundle.\n\n"
    "comparator: pairs laid out like DeepPCB: <id>_temp.* is the master, <id>_test.* the board of the same "
    "size, <id>.txt one defect a line (x1 y1 x2 y2 type).\n\n"
    "autoencoder, stpm, pfm: good parts, laid out like MVTec AD: train/good/*, and for evaluate "
    "test/good/*, test/<kind>/*, ground_truth/<kind>/<id>_mask.png.\n\n"
    "matcher: products: <product>/drawing*.png and <product>/photo*.png.\n\n"
    "Which pictures are kept from training is decided by their names.",
)
Data = Annotated[
    Path, typer.Argument(help="Folder of pictures, laid out as the method needs them.", show_default=False)
]
MethodArgument = Annotated[
    Literal["comparator", "matcher", "autoencoder", "stpm", "pfm"],
    typer.Argument(help="How parts are to be judged.", show_default=False),
]
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
    """Download a ResNet from its publisher and verify it; train --backbone finds it by its name."""
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
        str | None,
        typer.Option(help="Pre-trained network to start from; else one that the extra `build` brings."),
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
    small: Annotated[
        bool, typer.Option("--small", help="Store the FP32 graph's weights as FP16: half its size.")
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
    from trt_build.small_weights import round_weights, store_weights

    with console.status("exporting FP32"):
        export_checkpoint(checkpoint, draft, height=height, width=width)
        if small:
            round_weights(draft)
    manifest = read_bundle(draft).manifest
    shown = steps_of(manifest.method).ranges(data, manifest.input) if data else []
    with console.status("halving to FP16"):
        halve(draft, shown)
    if data:
        with console.status("rounding to INT8"):
            quantize(draft, shown)
    if float8:
        with console.status("rounding to FP8"):
            add_float8(draft)
    if small:
        store_weights(draft)
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
        said = steps_of(method).calibrate(draft, data, promise)
    print_figures("threshold", read_bundle(draft).manifest.thresholds)
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
        typer.Option(help="Leave out the graphs in every other precision but FP32."),
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
            cases=steps_of(manifest.method).kept(data, manifest.input),
            golden=pair_cases(read_pairs(golden), manifest.input) if golden else (),
            masters=_by_view(masters) if masters else {},
            precision=precision,
            notice=notice.read_text() if notice else "",
        )
    console.print(f"bundle {packed.folder}, SHA-256 {packed.digest}")


app.command()(verify)
app.command()(build)


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
    print_figures("figure", found.figures)
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
