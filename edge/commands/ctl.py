"""Defines `edge ctl`, which asks a running line for its state and has it carry out commands."""

from __future__ import annotations

import json
from getpass import getuser
from typing import Annotated, Any

import typer

from . import challenge

app = typer.Typer(
    no_args_is_help=True, help="Ask a running line for its state, or have it carry out a command."
)

app.add_typer(challenge.app, name="challenge")

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


By = Annotated[str, typer.Option(help="Who asks for it, for the line's log.", show_default="the user")]


@app.command()
def hold(
    context: typer.Context,
    why: Annotated[str, typer.Option(help="Why the line is held, for people and the verdicts.")] = "",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """Hold the line: from now on it rejects every part, also after a restart, until it is released."""
    _do(
        line_of(context),
        "hold",
        "is held: it rejects every part until edge ctl release",
        as_json,
        why=why,
        by=by or getuser(),
    )


@app.command()
def release(
    context: typer.Context,
    why: Annotated[str, typer.Option(help="Why the line may pass parts again, for its log.")] = "",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """Release a line that is held, so that it passes good parts again."""
    _do(line_of(context), "release", "is released", as_json, why=why, by=by or getuser())


@app.command()
def alarms(context: typer.Context, as_json: AsJson = False) -> None:
    """Show the alarms that are raised or acknowledged, and what each has found."""
    from ..line.ask import ask

    found = ask(line_of(context), "alarms")
    if as_json:
        print(json.dumps(found))
        return
    for alarm in found["alarms"]:
        by = f" by {alarm['by']}" if alarm["by"] else ""
        print(f"{alarm['alarm']}: {alarm['state']}{by} since {alarm['changed_at']}; cause: {alarm['cause']}")
        print(f"    {alarm['text']}")
    if not found["alarms"]:
        print("no alarm")
    elif raised := [alarm["alarm"] for alarm in found["alarms"] if alarm["state"] == "raised"]:
        print(f"acknowledge it, once you have seen to it: edge ctl ack {raised[0]}")


@app.command()
def ack(
    context: typer.Context,
    alarm: Annotated[
        str, typer.Argument(help="Name of the alarm, as edge ctl alarms shows it.", show_default=False)
    ],
    learn: Annotated[
        bool, typer.Option("--learn", help="What the alarm has found is normal from now on: learn it anew.")
    ] = False,
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """Acknowledge an alarm. It ends once it is acknowledged and what it has found is over."""
    from ..line.ask import ask

    found = ask(line_of(context), "ack", alarm=alarm, by=by or getuser(), learn=learn)
    print(json.dumps(found) if as_json else f"alarm {alarm} is {found['state']}")


def _do(line: str, command: str, done: str, as_json: bool, **keys: str) -> None:
    from ..line.ask import ask

    answer = ask(line, command, **keys)
    print(json.dumps(answer) if as_json else f"line {line} {done}")


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(soft_wrap=True, highlight=False)
    reason = f": {found['reason']}" if found["reason"] else ""
    console.print(f"line {found['line']}, process {found['pid']}: {escape(found['state'] + reason)}")
    console.print(f"{found['captured']} parts captured, {found['published']} verdicts published")
    if found["challenge"]:
        console.print(escape(found["challenge"]))
    if held := found["hold"]:
        console.print(f"held since {held['since']} by {escape(held['by'] or '?')}: {escape(held['why'])}")
    engine = found["engine"]
    console.print(
        f"engine {engine['engine']} {engine['precision']}" if engine else "the engine is being loaded"
    )
    console.print(f"recipe {found['recipe'][:12]}, bundle {found['bundle'][:12]}, run {found['run']}")
    table = Table("process", "pid", "state", "restarts", "messages dropped", box=None)
    without = "not started yet" if found["state"] == "starting" else "away"
    for name, stage in found["stages"].items():
        state = "ready" if stage["ready"] else "starting" if stage["pid"] else without
        table.add_row(name, str(stage["pid"] or ""), state, str(stage["restarts"]), str(stage["dropped"]))
    table.add_row("control", str(found["pid"]), "ready", "", str(found["dropped"]))
    console.print(table)
