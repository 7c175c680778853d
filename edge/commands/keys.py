"""Defines `edge keys`, which makes the keys for a line that other machines may connect to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True, help="Make the keys by which a line and its subscribers know each other."
)


@app.callback()
def choose() -> None:
    pass


@app.command()
def new(
    name: Annotated[
        str,
        typer.Argument(help="Owner of the keys: `line`, or the name of a subscriber.", show_default=False),
    ],
    folder: Annotated[Path, typer.Option(help="Folder to write the keys to; made if need be.")] = Path("."),
) -> None:
    """Make a pair of keys: NAME.key, the public one to give away, and NAME.key_secret for its owner alone."""
    from ..keys import ALLOWED, LINE, make_pair

    public = make_pair(folder, name)
    print(f"{public}: the public key. The secret key is beside it: it stays here")
    if name == LINE:
        (folder / ALLOWED).mkdir(mode=0o755, exist_ok=True)
        print(f'write keys = "{folder.resolve()}" under [publish] in the recipe')
        print(f"copy {public.name} to each subscriber, and their public keys to {folder / ALLOWED}")
    else:
        print(
            f"copy {public.name} to the folder {ALLOWED} of the line's keys, and the line's {LINE}.key "
            f"to {folder}"
        )
