"""Declares the options that several methods share in training, and prepares this machine for a training."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from edge.engines.processor import usable_cores
from edge.tiles import MOST_TILES
from trt_build.terminal.console import console
from trt_build.terminal.progress import bars

#: Both sides of a picture must be a multiple of this, in pixels: the coarsest stride of the networks.
COARSEST = 32


class Size(NamedTuple):
    """The size of a picture in pixels."""

    width: int
    height: int


def read_size(text: str) -> Size:
    """Read `256` or `384x256`. Raise BadParameter unless both sides are multiples of 32."""
    found = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    size = Size(int(found[1]), int(found[2] or found[1])) if found else Size(0, 0)
    if not all(side and side % COARSEST == 0 for side in size):
        raise typer.BadParameter(
            f"expected a width and a height such as 384x256, or one number for both, in multiples of "
            f"{COARSEST} pixels, found {text!r}"
        )
    return size


class Tiles(NamedTuple):
    """The number of tiles into which a picture is cut."""

    columns: int
    rows: int


def _tiles(text: str) -> Tiles:
    """Read `3x2`. Raise BadParameter unless these are at most MOST_TILES tiles."""
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    tiles = Tiles(int(found[1]), int(found[2])) if found else Tiles(0, 0)
    if not 1 <= tiles.columns * tiles.rows <= MOST_TILES:
        raise typer.BadParameter(
            f"expected columns and rows such as 3x2, at most {MOST_TILES} tiles in all, found {text!r}"
        )
    return tiles


Run = Annotated[
    Path,
    typer.Argument(
        help="Folder for the checkpoint and the curves; a training that was stopped goes on there.",
        show_default=False,
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(min=1, help="Number of passes over all pictures; left out, the method's own number."),
]
Seed = Annotated[
    int, typer.Option(min=0, help="Seed of the random numbers; the same seed gives the same training.")
]
Backbone = Annotated[
    str | None,
    typer.Option(
        help="Pre-trained network to start from; left out, the method's own, which comes with Linejudge. "
        "Download a ResNet with fetch-backbone."
    ),
]
PictureSize = Annotated[
    Size | None,
    typer.Option(
        "--size",
        parser=read_size,
        metavar="WIDTHxHEIGHT",
        help="Size in pixels to which pictures are scaled; left out, 256x256. A larger size shows smaller "
        "defects, and takes longer.",
    ),
]
PictureTiles = Annotated[
    Tiles | None,
    typer.Option(
        "--tiles",
        parser=_tiles,
        metavar="COLUMNSxROWS",
        help="Tiles of --size into which each picture is cut, for small defects in large pictures. They "
        "overlap by an eighth, and the line cuts parts alike. Left out, pictures are scaled to --size.",
    ),
]
MixedSizes = Annotated[
    bool,
    typer.Option(
        help="Accept pictures of different sizes and scale each to the model's size; without this option they "
        "are an error."
    ),
]

AsPublished = Annotated[
    bool,
    typer.Option(
        "--as-published",
        help="Train as the method's paper does: its network, loss, optimiser and score. This takes longer.",
    ),
]


@contextmanager
def training() -> Iterator[None]:
    """Train on all usable cores in the `with` block, and show the progress. Ctrl-C exits with status 130."""
    import torch

    torch.set_num_threads(usable_cores())
    try:
        with bars():
            yield
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on from the last epoch that was kept")
        raise typer.Exit(130) from None


def given(**options: Any) -> dict[str, Any]:
    """Return the options that the user gave: those that are not None."""
    return {name: value for name, value in options.items() if value is not None}


def sides(size: Size | None) -> dict[str, Any]:
    """Return the fields `height` and `width` of a network's configuration, if the user gave a size."""
    return {} if size is None else size._asdict()


def check_different(first: str, second: str | None) -> None:
    """Raise BadParameter if both pre-trained networks are the same one."""
    if first == second:
        raise typer.BadParameter(
            f"expected two different networks, found {first} as both: name another one", param_hint="--second"
        )
