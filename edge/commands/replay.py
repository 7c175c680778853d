"""Defines `edge replay`: it computes the verdicts of a black-box file again and shows what differs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..replay.replay import Report


def replay(
    file: Annotated[Path, typer.Argument(help="A black-box file of a line's recorder.", show_default=False)],
    recipe: Annotated[
        Path | None, typer.Option(help="The line's recipe file, if masters or bundles lie elsewhere now.")
    ] = None,
    bundle: Annotated[
        list[str] | None,
        typer.Option(
            help="A bundle's folder, if it lies elsewhere now: FOLDER, or JUDGE=FOLDER for one judge."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON instead of a table.")] = False,
) -> None:
    """Compute the verdicts of a black-box file again, and compare them bit for bit. Status 1 if any differs."""
    # As in the line's processes: more threads would add numbers in another order. numpy reads it as it loads.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    from ..replay.replay import replay as replay_file

    report = replay_file(file, recipe, bundle or ())
    if as_json:
        print(json.dumps(_json(report)))
    else:
        _show(report)
    if report.different:
        raise typer.Exit(1)


def _json(report: Report) -> dict[str, Any]:
    return {
        "equal": report.equal,
        "differ": len(report.different),
        "left_out": report.left_out,
        "engine": report.engine,
        "engine_then": report.engine_then,
        "differences": [
            {"number": one.number, "part_id": one.part_id, "fields": one.differences}
            for one in report.different
        ],
    }


def _show(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(soft_wrap=True, highlight=False, markup=False)
    if report.different:
        table = Table("part", "field", "then", "now")
        for one in report.different:
            for name, (then, now) in one.differences.items():
                table.add_row(one.part_id, name, json.dumps(then), json.dumps(now))
        console.print(table)
    console.print(f"{report.equal} parts: the verdict is the same, bit for bit")
    for reason, count in report.left_out.items():
        console.print(f"{count} parts: not compared: {reason}")
    if report.different:
        console.print(f"{len(report.different)} parts: the verdict differs")
    if report.engine != report.engine_then:
        console.print(f"the line ran on {report.engine_then}, this machine on {report.engine}")
