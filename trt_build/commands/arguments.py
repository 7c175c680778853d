"""Declares the argument that several commands take: the folder of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[
    Path, typer.Argument(help="Folder of pictures; trt-build --help shows its layout.", show_default=False)
]
