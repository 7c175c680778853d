"""Defines the command `trt-build`, which makes a verified model bundle from pictures step by step."""

from __future__ import annotations

import logging
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from edge.errors import EdgeError
from trt_build.commands.build import build
from trt_build.commands.calibrate import calibrate
from trt_build.commands.evaluate import evaluate
from trt_build.commands.export import export
from trt_build.commands.fetch_backbone import fetch_backbone
from trt_build.commands.pack import pack
from trt_build.commands.render import render
from trt_build.commands.train import train
from trt_build.commands.verify import verify
from trt_build.whole import REFUSALS

COMMANDS = ("render", "fetch-backbone", "train", "export", "build", "calibrate", "pack", "verify", "evaluate")


class _InOrder(TyperGroup):
    """Lists commands in the order in which they are used. Typer itself lists those with subcommands last."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        return sorted(self.commands, key=COMMANDS.index)


app = typer.Typer(
    cls=_InOrder,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Make model bundles for Linejudge, step by step, from a folder of pictures.\n\n"
    "\b\nThe steps, in order:\n"
    "  1  train      trains on the pictures, and writes a checkpoint\n"
    "  2  export     writes the checkpoint as ONNX graphs: a draft\n"
    "  3  build      compiles the graphs for this machine's NVIDIA GPU, if any\n"
    "  4  calibrate  sets the threshold on pictures that were not trained with\n"
    "  5  pack       makes a bundle of the draft, ready for a line\n"
    "  6  verify     compares the bundle's engine with the FP32 reference\n"
    "  7  evaluate   prints figures on labelled pictures, and writes a report\n\n"
    "Give each step the same folder: the names of its pictures decide which are held out from training. "
    "Build (3) a bundle from another machine on the line's GPU, and then verify (6) it.\n\n"
    "\b\nThe layout of the folder, for each method:\n"
    "  comparator    pairs of a board and its master, of one size\n"
    "    <id>_temp.*              the master, without a defect\n"
    "    <id>_test.*              the board\n"
    "    <id>.txt                 a line for each defect: x1 y1 x2 y2 type, pixels;\n"
    "                             empty for a good board\n"
    "    <id>_mask.png            or a mask: not black where a defect is\n"
    "    <kind>/<id>_mask.png     or masks in a folder for each kind of defect\n"
    "    kinds.txt                the kinds, one a line; a type is name or number,\n"
    "                             without this file: 1 open, 2 short, 3 mousebite,\n"
    "                             4 spur, 5 copper, 6 pin-hole\n"
    "  autoencoder, gaussian, pfm, stpm\n"
    "                parts, judged by what good parts look like\n"
    "    train/good/*             good parts, about 150\n"
    "    test/good/*              more good parts, for verify and evaluate\n"
    "    test/<kind>/*            defective parts, a folder for each kind\n"
    "    ground_truth/<kind>/<id>_mask.png   not black where the defect is;\n"
    "                             without this folder, no figures of pixels\n"
    "  matcher       products, with drawings and photos\n"
    "    <product>/drawing*.png   drawings of the product\n"
    "    <product>/photo*.png     photos of the product",
)
for command in (render, fetch_backbone, export, build, calibrate, pack, verify, evaluate):
    app.command()(command)
app.add_typer(train, name="train")

#: The libraries of the extra `build`, by the names that they are imported by.
BUILD_LIBRARIES = {"matplotlib", "ml_dtypes", "modelopt", "onnx", "onnxruntime", "onnxscript"}
BUILD_LIBRARIES |= {"safetensors", "scipy", "torch"}


def main() -> None:
    """Run the command line. Print an error that the user can correct on stderr, and exit with status 1."""
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
