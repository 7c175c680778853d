"""Defines the console to which all commands of `trt-build` print, and prints tables of figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from trt_build.terminal.plain_names import plain_name

console = Console(highlight=False, soft_wrap=True, markup=False)


def print_figures(title: str, values: Mapping[str, float]) -> None:
    """Print a table with the name of each figure, its value, and what it means."""
    table = Table(title, "", "", show_edge=False)
    for name, value in values.items():
        table.add_row(name, f"{value:.3f}", plain_name(name))
    console.print(table)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str | float]]) -> None:
    """Print a title, and a table with a name in the first column and figures with one decimal in the others."""
    table = Table(*columns, show_edge=False, title=title, title_justify="left")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, str) else f"{cell:.1f}" for cell in row))
    console.print(table)
