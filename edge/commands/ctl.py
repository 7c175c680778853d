"""Defines `edge ctl`, which asks a running line for its state and has it carry out commands."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

app = typer.Typer(
    no_args_is_help=True, help="Ask a running line for its state, or have it carry out a command."
)

AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as one line of JSON.")]


@app.callback()
def choose(
    context: typer.Context,
    line: Annotated[
        str | None,
        typer.Option(help="Name of the line, from its recipe.", show_default="the line that runs"),
    ] = None,
) -> None:
    context.obj = line


def line_of(context: typer.Context) -> str:
    """Return the line that the command is for: the option --line, or the only one that runs."""
    from ..line.ask import only_line

    return context.obj or only_line()


@app.command()
def status(context: typer.Context, as_json: AsJson = False) -> None:
    """Show what the line does: its state, its parts, its engine and its processes."""
    from ..line.ask import ask

    found = ask(line_of(context), "status")
    if as_json:
        print(json.dumps(found))
    else:
        _show(found)


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(soft_wrap=True, highlight=False)
    reason = f": {found['reason']}" if found["reason"] else ""
    console.print(f"line {found['line']}, process {found['pid']}: {escape(found['state'] + reason)}")
    console.print(f"{found['captured']} parts captured, {found['published']} verdicts published")
    engine = found["engine"]
    console.print(
        f"engine {engine['engine']} {engine['precision']}" if engine else "the engine is being loaded"
    )
    console.print(f"recipe {found['recipe'][:12]}, bundle {found['bundle'][:12]}, run {found['run']}")
    table = Table("process", "pid", "state", "restarts", "messages dropped", box=None)
    for name, stage in found["stages"].items():
        state = "ready" if stage["ready"] else "starting" if stage["pid"] else "away"
        table.add_row(name, str(stage["pid"] or ""), state, str(stage["restarts"]), str(stage["dropped"]))
    table.add_row("control", str(found["pid"]), "ready", "", str(found["dropped"]))
    console.print(table)
