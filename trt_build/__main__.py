"""The command line `trt-build`: from pictures to a verified model bundle."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from edge.bundle import read_bundle
from edge.errors import BundleError, EdgeError
from edge.text import readable, text_of
from trt_build.commands.build import build, verify
from trt_build.methods.base import EvaluateOptions, Method, TrainOptions, not_taken
from trt_build.methods.table import Trainable, method_of
from trt_build.terminal.console import console, print_figures
from trt_build.terminal.progress import working
from trt_build.whole import REFUSALS, whole, writing

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Make model bundles for Linejudge, step by step from a folder of pictures.\n\n"
    "\b\nThe steps, one after another:\n"
    "  1  train      learns from the pictures, and writes a checkpoint\n"
    "  2  export     turns the checkpoint into ONNX graphs: a draft\n"
    "  3  build      compiles them for this machine's NVIDIA GPU, if it has one\n"
    "  4  calibrate  sets the threshold, by pictures that were not trained with\n"
    "  5  pack       makes a bundle of the draft, ready for a line\n"
    "  6  verify     holds the bundle's engine against the FP32 reference\n"
    "  7  evaluate   prints figures on labelled pictures, and writes a report\n\n"
    "Give each step the same folder: which of its pictures are kept from training is decided by their names. "
    "A bundle that comes from elsewhere is built (3) on the line's GPU and then verified (6).\n\n"
    "\b\nWhat the folder holds, by method:\n"
    "  comparator    boards held against their masters, in pairs of one size\n"
    "    <id>_temp.*              the master, without a defect\n"
    "    <id>_test.*              the board\n"
    "    <id>.txt                 a defect a line: x1 y1 x2 y2 type, in pixels;\n"
    "                             1 open, 2 short, 3 mousebite, 4 spur,\n"
    "                             5 copper, 6 pin-hole; empty for a good board\n"
    "  autoencoder, stpm, pfm     parts judged by what good ones look like\n"
    "    train/good/*             good parts, about 150\n"
    "    test/good/*              more good parts, for verify and evaluate\n"
    "    test/<kind>/*            defective parts, a folder for each kind\n"
    "    ground_truth/<kind>/<id>_mask.png   not black where the defect is;\n"
    "                             without the folder, no figures of pixels\n"
    "  matcher       is this the product of the drawing?\n"
    "    <product>/drawing*.png   its drawings\n"
    "    <product>/photo*.png     photos of it",
)
Data = Annotated[
    Path,
    typer.Argument(
        help="Folder of pictures, laid out as the model's method needs it: see trt-build --help.",
        show_default=False,
    ),
]
MethodArgument = Annotated[
    Trainable,
    typer.Argument(
        help="How parts are judged: against a master (comparator), by what good ones look like (autoencoder, "
        "stpm, pfm), or against drawings (matcher).",
        show_default=False,
    ),
]
#: What the extra `build` brings, by the name it is imported by.
BUILD_LIBRARIES = {"matplotlib", "ml_dtypes", "modelopt", "onnx", "onnxruntime", "onnxscript"}
BUILD_LIBRARIES |= {"safetensors", "scipy", "torch"}


@app.command()
def render(
    folder: Annotated[
        Path,
        typer.Argument(help="Folder to write the pairs into; it is made if it is missing.", show_default=False),
    ],
    boards: Annotated[
        int, typer.Option(min=1, help="How many boards to render; about 300 make a first model.")
    ] = 1000,
    size: Annotated[int, typer.Option(min=64, help="Width and height of each picture, in pixels.")] = 640,
    seed: Annotated[
        int, typer.Option(min=0, help="Which board designs to draw; sets of two seeds share none.")
    ] = 0,
) -> None:
    """Render boards with known defects as labelled pairs, for a first model without pictures of your own."""
    from trt_build.data.rendered import write_pairs

    with writing(folder):
        write_pairs(folder, boards, size, seed)


@app.command()
def fetch_backbone(
    name: Annotated[
        str,
        typer.Argument(
            help="Network to download: resnet18, resnet34, resnet50 or wide_resnet50_2.", show_default=False
        ),
    ],
) -> None:
    """Download a ResNet from its publisher and verify it; train --backbone finds it by its name."""
    from trt_build.backbones.published import fetch_backbone as fetch

    console.print(f"{name} is in {fetch(name)}")


@app.command()
def train(
    method: MethodArgument,
    data: Data,
    folder: Annotated[
        Path,
        typer.Argument(
            help="Folder for the checkpoint and the curves; a training that was stopped goes on there.",
            show_default=False,
        ),
    ],
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1, help="How often all pictures are gone through; left out, as often as suits the method."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Start of the random numbers; the same seed gives the same training.")
    ] = 0,
    backbone: Annotated[
        str | None,
        typer.Option(
            help="Pre-trained network to start from, for autoencoder, stpm and pfm; left out, the method's "
            "own, which came with Linejudge. Get a ResNet by fetch-backbone."
        ),
    ] = None,
    second: Annotated[
        str | None,
        typer.Option(
            help="Second pre-trained network. pfm compares it with the first; to stpm it adds another pair of "
            "teacher and student, which takes longer and finds more."
        ),
    ] = None,
    position: Annotated[
        bool,
        typer.Option(
            help="Tell pfm where in the picture it is looking; set this where all parts lie the same way."
        ),
    ] = False,
    mixed_sizes: Annotated[
        bool,
        typer.Option(
            help="Accept pictures of different sizes and scale each to the model's; else they are an error."
        ),
    ] = False,
) -> None:
    """Train a model of one of the methods, on the CPU. Needs the extra `build`."""
    try:
        from trt_build.commands.train import train_method

        options = TrainOptions(
            epochs=epochs,
            seed=seed,
            backbone=backbone,
            second=second,
            position=position,
            mixed_sizes=mixed_sizes,
        )
        train_method(method, data, folder, options)
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on from the last epoch that was kept")
        raise typer.Exit(130) from None


@app.command()
def export(
    checkpoint: Annotated[
        Path, typer.Argument(help="The file checkpoint.pt that train wrote.", show_default=False)
    ],
    draft: Annotated[Path, typer.Argument(help="Folder to write the graphs into.", show_default=False)],
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder that was trained with, by whose pictures INT8 is scaled; left out, there is no INT8."
        ),
    ] = None,
    float8: Annotated[
        bool,
        typer.Option(
            "--fp8",
            help="Write an FP8 graph too, for GPUs from Ada and Hopper on; coarser than INT8. Needs --data.",
        ),
    ] = False,
    small: Annotated[
        bool,
        typer.Option(
            "--small", help="Store the FP32 graph's weights as FP16, which halves its file; computed is FP32."
        ),
    ] = False,
    width: Annotated[
        int,
        typer.Option(
            min=32, help="Width of a comparator's input in pixels, a multiple of 32; others have theirs."
        ),
    ] = 640,
    height: Annotated[
        int,
        typer.Option(
            min=32, help="Height of a comparator's input in pixels, a multiple of 32; others have theirs."
        ),
    ] = 640,
) -> None:
    """Turn a checkpoint into ONNX graphs, FP32, FP16 and INT8: a draft, for `calibrate` and then `pack`."""
    if float8 and not data:
        raise typer.BadParameter("needs --data, whose ranges it takes", param_hint="--fp8")
    from trt_build.graphs.fp8 import add_fp8
    from trt_build.graphs.fp16 import add_fp16
    from trt_build.graphs.fp32 import export_checkpoint
    from trt_build.graphs.int8 import add_int8
    from trt_build.graphs.small_weights import round_weights, store_weights

    with whole(draft) as part:
        with working("exporting FP32"):
            export_checkpoint(checkpoint, part, height=height, width=width)
            if small:
                round_weights(part)
        manifest = read_bundle(part).manifest
        shown = method_of(manifest.method).calibration_pictures(data, manifest.input) if data else []
        with working("halving to FP16"):
            add_fp16(part, shown)
        if data:
            with working("rounding to INT8"):
                add_int8(part, shown)
        if float8:
            with working("rounding to FP8"):
                add_fp8(part)
        if small:
            store_weights(part)
    console.print(f"draft in {draft}; next: trt-build calibrate")


@app.command()
def calibrate(
    draft: Annotated[Path, typer.Argument(help="The draft's folder, as export wrote it.", show_default=False)],
    data: Data,
    rate: Annotated[
        float,
        typer.Option(help="Share of good parts that may be rejected, 0 to 1; 0.05 is one in twenty."),
    ] = 0.05,
    how: Annotated[
        Literal["conformal", "conditional", "extrapolated"],
        typer.Option(
            help="What the threshold promises of --rate: that it holds on average (conformal), that it holds "
            "with --confidence (conditional), or a guess by the highest scores where parts are too few for "
            "either (extrapolated)."
        ),
    ] = "conformal",
    confidence: Annotated[
        float,
        typer.Option(help="Probability, 0 to 1, with which --rate is to hold; for --how conditional alone."),
    ] = 0.95,
) -> None:
    """Set a draft's threshold by pictures that were not trained with, on the engine that will judge.

    A comparator's thresholds are those that best tell its kinds of defect on
    the pairs that were not trained with; they promise no rate.
    """
    from trt_build.packing.threshold import CalibrationOptions

    method = method_of(read_bundle(draft).manifest.method)
    with working("judging pictures kept for this"):
        options = CalibrationOptions(rate=rate, how=how, confidence=confidence)
        said = method.calibrate(draft, data, options)
    print_figures("threshold", read_bundle(draft).manifest.thresholds)
    if said:
        console.print(f"{said.note} ({said.n} good parts on {said.engine})")
    console.print("next: trt-build pack")


@app.command()
def pack(
    draft: Annotated[
        Path,
        typer.Argument(help="The draft's folder, once calibrate has set its threshold.", show_default=False),
    ],
    bundle: Annotated[
        Path, typer.Argument(help="Folder to make for the bundle; it must not exist yet.", show_default=False)
    ],
    data: Annotated[
        Path,
        typer.Option(
            help="Folder that was trained with; tolerances are measured on those of its pictures that were not."
        ),
    ],
    golden: Annotated[
        Path | None,
        typer.Option(help="Folder of pairs to take a comparator's golden frames from; left out, from --data."),
    ] = None,
    masters: Annotated[
        Path | None,
        typer.Option(
            help="Folder of a comparator's masters, <view>.png each, to put in; left out, recipes name them."
        ),
    ] = None,
    precision: Annotated[
        Literal["fp32", "fp16", "int8", "fp8"] | None,
        typer.Option(
            help="Put in the graphs of this precision and of FP32 alone, for a smaller bundle; left out, all."
        ),
    ] = None,
    notice: Annotated[
        Path | None, typer.Option(help="Text file with licences and credits, to be kept in the bundle.")
    ] = None,
) -> None:
    """Make a bundle of a draft: golden frames with tolerances, masters, digests."""
    from trt_build.data.cases import pair_cases
    from trt_build.data.pairs import read_pairs
    from trt_build.packing.pack import pack as pack_bundle

    manifest = read_bundle(draft).manifest
    with working("judging pictures kept from training"):
        packed = pack_bundle(
            draft,
            bundle,
            cases=method_of(manifest.method).held_out(data, manifest.input),
            golden=pair_cases(read_pairs(golden), manifest.input) if golden else (),
            masters=_by_view(masters) if masters else {},
            precision=precision,
            notice=_notice(notice) if notice else "",
        )
    console.print(f"bundle {packed.folder}, SHA-256 {packed.digest}")


def _notice(path: Path) -> str:
    try:
        return text_of(path.read_bytes())
    except ValueError as error:
        raise BundleError(f"{path}: {error}") from error


app.command()(verify)
app.command()(build)


@app.command()
def evaluate(
    model: Annotated[
        Path,
        typer.Argument(
            help="A bundle's folder, or the checkpoint.pt of a comparator in training.", show_default=False
        ),
    ],
    data: Data,
    chosen_on: Annotated[
        Path | None,
        typer.Option(
            help="Folder of pairs that a comparator was trained with; the cut for its boxes is chosen on those "
            "kept from training. Set it to report figures on other pairs than the cut was chosen on."
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Folder to write a report into, with pictures of what was judged worst.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="Folder of the training, whose curves are to be shown in the report.")
    ] = None,
    verdicts: Annotated[
        Path | None,
        typer.Option(
            help="File for what a line has to say of each part, one line of JSON each, to compare a line with."
        ),
    ] = None,
) -> None:
    """Print a model's figures on labelled pictures; a bundle is run on its fastest engine."""
    options = EvaluateOptions(chosen_on=chosen_on, report=report, run=run, verdicts=verdicts)
    with working("judging labelled pictures"):
        method = _method_of_model(model)
        for option in not_taken(options, method.evaluate_options):
            raise typer.BadParameter(f"does nothing for the method {method.name}", param_hint=option)
        with writing(report or verdicts or model):
            found = method.evaluate(model, data, options)
    print_figures("figure", found.figures)
    for line in found.written:
        console.print(line)


def _by_view(masters: Path) -> dict[str, Path]:
    found = {readable(path.stem): path for path in sorted(masters.glob("*.png"))}
    if not found:
        raise BundleError(f"{masters}: expected masters, <view>.png each, found none")
    return found


def _method_of_model(model: Path) -> Method:
    """Return the method of a bundle's folder, or of a checkpoint file that can be evaluated."""
    if not model.is_file():
        return method_of(read_bundle(model).manifest.method)
    from trt_build.methods.loop import CheckpointError
    from trt_build.methods.trained import load_trained

    method = load_trained(model).method
    if not method.evaluates_checkpoints:
        raise CheckpointError(
            f"{model}: expected a comparator's checkpoint or a bundle, found a checkpoint of {method.name}: "
            "export, calibrate and pack it, then evaluate the bundle"
        )
    return method


def main() -> None:
    """Run the command line; what a person can mend is said on stderr, a line each, with status 1."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    logging.getLogger("edge").setLevel(logging.INFO)
    try:
        app(prog_name="trt-build")
    except EdgeError as error:
        lines = (" ".join(line.split()) for line in str(error).splitlines())
        print("trt-build:", "\n  ".join(lines), file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        if error.filename is None and error.errno not in REFUSALS:
            raise
        place = f"{error.filename}: " if error.filename else ""
        remedy = ": make room on that disk, or name a folder on another" if error.errno in REFUSALS else ""
        print(f"trt-build: {place}{error.strerror}{remedy}", file=sys.stderr)
        sys.exit(1)
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in BUILD_LIBRARIES:
            raise
        print(f"trt-build: {library} is not installed: pip install 'linejudge[build]'", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
