"""What `edge run` will ask of the machine, asked for beforehand and given back: ports, sockets and folders."""

from __future__ import annotations

from pathlib import Path

from .endpoint import claim
from .epoch import check_epoch
from .exposition import listening
from .recipe import Recipe
from .run_folder import make_base, runs
from .wires import Wires


def rehearse(recipe: Recipe, state: Path) -> bool:
    """Whether all is to be had; False where the line runs already, and so has it.

    Raises LineError for what is not, as the run would.
    """
    if runs(recipe.line):
        return False
    make_base()
    with Wires(Path(), b"") as wires:
        for endpoint in recipe.publish.endpoints:
            claim(endpoint)
        wires.publisher(recipe.publish.endpoints)
        if recipe.metrics.port:
            listening(recipe.metrics.host, recipe.metrics.port).close()
    check_epoch(state, recipe.line)
    return True
