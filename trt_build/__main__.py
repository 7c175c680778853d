"""The command line `trt-build`: from pairs of pictures to a verified model bundle."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from edge.bundle import read_bundle
from edge.engines import open_engine
from edge.errors import EdgeError
from edge.golden import judge
from edge.recipe import EngineChoice
from trt_build.dataset import KINDS, DatasetError, Pair, read_pairs, split
from trt_build.evaluate import FloatArray, Judge, Picture, choose_cut, draw_worst, figures, find_all
from trt_build.pack import pack as pack_bundle
from trt_build.verify import verify as verify_bundle

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Make model bundles for Linejudge: train, evaluate, export, pack, verify.\n\n"
    "Pairs are a folder laid out like DeepPCB: <id>_temp.* is the master, <id>_test.* the board of the "
    "same size, <id>.txt one defect a line (x1 y1 x2 y2 type). About one pair in seventeen, chosen by its "
    "name, is kept from training; thresholds are chosen on those.",
)
console = Console(highlight=False, soft_wrap=True)

Pairs = Annotated[Path, typer.Argument(help="Folder of labelled pairs.", show_default=False)]
EngineKind = Literal["auto", "openvino", "onnxruntime"]
#: What the extra `build` brings, by the name it is imported by.
BUILD_LIBRARIES = {"matplotlib", "onnx", "onnxruntime", "onnxscript", "safetensors", "scipy", "torch"}


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
def train(
    pairs: Pairs,
    folder: Annotated[
        Path,
        typer.Argument(help="Where the checkpoint goes; a run that was stopped goes on.", show_default=False),
    ],
    epochs: Annotated[int, typer.Option(min=1, help="Times that all pairs are seen.")] = 50,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same training.")] = 0,
) -> None:
    """Train a comparator. Needs the extra `build`; uses the CPU."""
    from trt_build.models.comparator import ComparatorConfig
    from trt_build.train import TrainConfig
    from trt_build.train_comparator import train_comparator

    train_comparator(
        pairs,
        folder,
        network=ComparatorConfig(kinds=KINDS),
        training=TrainConfig(epochs=epochs, seed=seed),
    )


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Argument(help="checkpoint.pt of a training.", show_default=False)],
    draft: Annotated[Path, typer.Argument(help="Folder for the graphs.", show_default=False)],
    pairs: Annotated[
        Path | None,
        typer.Option(help="Training pairs to calibrate INT8 on; without them there is FP32 only."),
    ] = None,
    width: Annotated[int, typer.Option(min=32, help="Of the model's input; a multiple of 32.")] = 640,
    height: Annotated[int, typer.Option(min=32, help="Likewise.")] = 640,
    calibration: Annotated[int, typer.Option(min=1, help="So many pairs, evenly chosen.")] = 100,
) -> None:
    """Turn a checkpoint into ONNX graphs, FP32 and INT8: a draft, which `pack` makes a bundle."""
    from trt_build.export_onnx import export_checkpoint

    with console.status("exporting FP32"):
        export_checkpoint(checkpoint, draft, height=height, width=width)
    if pairs:
        from trt_build.quantize import quantize

        known, _ = split(read_pairs(pairs))
        quantize(draft, known[:: max(1, len(known) // calibration)][:calibration])
    console.print(f"draft in {draft}; next: trt-build pack")


@app.command()
def pack(
    draft: Annotated[Path, typer.Argument(help="Folder that `export` wrote.", show_default=False)],
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder; it may not exist.", show_default=False)],
    pairs: Annotated[
        Path, typer.Option(help="Training pairs: thresholds are chosen on the part kept from training.")
    ],
    golden: Annotated[
        Path | None, typer.Option(help="Pairs to take golden frames from; else the part kept from training.")
    ] = None,
    masters: Annotated[
        Path | None, typer.Option(help="Folder of masters to put in, <view>.png each; else recipes name them.")
    ] = None,
    precision: Annotated[
        Literal["fp32", "int8"] | None, typer.Option(help="Leave out the graphs in every other precision.")
    ] = None,
    notice: Annotated[Path | None, typer.Option(help="Text file with licences and credits to put in.")] = None,
) -> None:
    """Make a bundle of a draft: thresholds, golden frames with tolerances, digests."""
    kept = _held_out(pairs)
    with console.status(f"judging {len(kept)} pairs"):
        packed = pack_bundle(
            draft,
            bundle,
            pairs=kept,
            golden=read_pairs(golden) if golden else (),
            masters={path.stem: path for path in sorted(masters.glob("*.png"))} if masters else {},
            precision=precision,
            notice=notice.read_text() if notice else "",
        )
    console.print(f"bundle {packed.folder}, SHA-256 {packed.digest}")
    _print_figures("threshold", packed.manifest.thresholds)


@app.command()
def verify(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder.", show_default=False)],
    pairs: Annotated[Path | None, typer.Option(help="Labelled pairs to judge after the golden frames.")] = None,
    engine: Annotated[EngineKind, typer.Option(help="The engine to hold against the reference.")] = "auto",
    precision: Annotated[Literal["auto", "fp32", "int8"], typer.Option(help="Of that engine.")] = "auto",
) -> None:
    """Hold an engine against the FP32 reference; status 1 where it differs by more than it may."""
    read = read_bundle(bundle)
    labelled = read_pairs(pairs) if pairs else []
    with console.status(f"judging {len(read.manifest.golden)} golden frames and {len(labelled)} pairs"):
        found = verify_bundle(read, EngineChoice(kind=engine, precision=precision), labelled)
    console.print(f"all {len(read.manifest.golden)} golden frames are reproduced")
    if found:
        _print_figures(f"{found.engine}, largest difference", found.differences)
        flipped = ", ".join(found.flipped) or "none"
        console.print(f"boards decided otherwise: {len(found.flipped)} of {found.boards} ({flipped})")
        console.print(f"AP at IoU 0.33: {found.ap:.2f}, reference {found.ap_reference:.2f}")


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="A bundle's folder, or a checkpoint.pt.", show_default=False)],
    pairs: Pairs,
    chosen_on: Annotated[
        Path | None,
        typer.Option(help="Training pairs: the cut is chosen on the part kept from training."),
    ] = None,
    worst: Annotated[Path | None, typer.Option(help="Folder for pictures of the worst boards.")] = None,
) -> None:
    """Print a model's figures on labelled pairs; a bundle is run on its fastest engine."""
    test = read_pairs(pairs)
    with _open_judge(model) as ask, console.status(f"judging {len(test)} pairs"):
        kept = _held_out(chosen_on) if chosen_on else []
        cut = choose_cut(kept, find_all(ask, kept)) if kept else 0.5
        found = find_all(ask, test)
    _print_figures("figure", figures(test, found, cut=cut))
    if worst:
        console.print(f"{len(draw_worst(test, found, worst, cut=cut))} pictures in {worst}")


@contextmanager
def _open_judge(model: Path) -> Iterator[Judge]:
    if model.is_file():
        from trt_build.train_comparator import load_comparator, torch_judge

        yield torch_judge(load_comparator(model))
        return
    bundle = read_bundle(model)
    tensor = bundle.manifest.input.tensor
    with open_engine(EngineChoice(), bundle) as engine:

        def ask(master: Picture, board: Picture) -> tuple[FloatArray, FloatArray]:
            outputs = judge(engine, tensor(board), tensor(master))
            return outputs["map"][0], outputs["extents"][0]

        yield ask


def _held_out(folder: Path) -> list[Pair]:
    _, kept = split(read_pairs(folder))
    if not kept:
        raise DatasetError(f"{folder}: so few pairs that none was kept from training: give more, about 50")
    return kept


def _print_figures(title: str, values: dict[str, float]) -> None:
    table = Table(title, "", show_edge=False)
    for name, value in values.items():
        table.add_row(name, f"{value:.3f}")
    console.print(table)


def main() -> None:
    """Run the command line; what Linejudge itself reports is one line on stderr and status 1."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    logging.getLogger("edge").setLevel(logging.INFO)
    try:
        app()
    except EdgeError as error:
        print(f"trt-build: {error}", file=sys.stderr)
        sys.exit(1)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in BUILD_LIBRARIES:
            raise
        print(f"trt-build: {error.name} is not installed: pip install 'linejudge[build]'", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
