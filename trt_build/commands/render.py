"""The command `trt-build render`, which draws boards with known defects, as training data for a first model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trt_build.whole import writing


def render(
    folder: Annotated[
        Path,
        typer.Argument(help="Folder to write the pairs to; it is made if it is missing.", show_default=False),
    ],
    boards: Annotated[
        int, typer.Option(min=1, help="Number of boards to render; about 300 are enough for a first model.")
    ] = 1000,
    size: Annotated[int, typer.Option(min=64, help="Width and height of each picture, in pixels.")] = 640,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the board designs; two seeds have no design in common.")
    ] = 0,
) -> None:
    """Render boards with known defects as labelled pairs, for a first model without pictures of your own."""
    from trt_build.data.rendered import write_pairs

    with writing(folder):
        write_pairs(folder, boards, size, seed)
