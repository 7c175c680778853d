"""`--help` needs no guessing: each option's text stands alone, and layouts are shown as they are written."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

import edge.__main__
import trt_build.__main__

BENCHMARKS = sorted((Path(__file__).parents[2] / "benchmarks").glob("*.py"))
LEAST_WORDS = 4
LEANING = ("likewise", "the other", "of ", "that ", "whose ", "what was", "ditto", "see above", "as above")


def parameters(app: typer.Typer) -> Iterator[tuple[str, str | None]]:
    """Every option and argument of every command, with its text."""
    group: Any = get_command(app)
    for name, command in group.commands.items():
        for parameter in command.params:
            if parameter.name != "help":
                yield f"{name} {parameter.name}", parameter.help


def written(path: Path) -> Iterator[tuple[str, str | None]]:
    """Every option of a program, with its text; from the source, since some need what is not here."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr not in ("add_argument", "Option", "Argument"):
                continue
            said = {keyword.arg: keyword.value for keyword in node.keywords}.get("help")
            if isinstance(said, ast.Attribute):  # argparse.SUPPRESS: not for people
                continue
            yield f"{path.name}:{node.lineno}", ast.literal_eval(said) if said else None


OPTIONS = {
    **{f"edge {name}": said for name, said in parameters(edge.__main__.app)},
    **{f"trt-build {name}": said for name, said in parameters(trt_build.__main__.app)},
    **{name: said for path in BENCHMARKS for name, said in written(path)},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_options_text_stands_alone(name: str) -> None:
    """It says in a few words what the option is, and does not lean on the text above it."""
    said = (OPTIONS[name] or "").replace("(default %(default)s)", "")
    assert len(said.split()) >= LEAST_WORDS
    assert not said.lower().startswith(LEANING)


def test_all_programs_are_looked_at() -> None:
    """Both commands and the benchmarks, so that no text escapes."""
    assert {name.split()[0].partition(":")[0] for name in OPTIONS} >= {"edge", "trt-build", "accuracy.py"}
    assert len(OPTIONS) > 80


@pytest.mark.parametrize("app", [edge.__main__.app, trt_build.__main__.app], ids=["edge", "trt-build"])
def test_what_a_command_does_is_not_torn_apart(app: typer.Typer) -> None:
    """From the second paragraph on lines are shown as they are written, and fit 80 columns."""
    group: Any = get_command(app)
    for command in (group, *group.commands.values()):
        for paragraph in (command.help or "").split("\n\n")[1:]:
            lines = paragraph.strip().splitlines()
            assert len(lines) == 1 or max(map(len, lines)) <= 78


@pytest.mark.parametrize("columns", [80, 120])
def test_steps_and_layouts_are_shown_a_line_each(columns: int) -> None:
    """The order of the steps and where each picture belongs are read off at a glance, in any terminal."""
    shown = subprocess.run(
        [sys.executable, "-m", "trt_build", "--help"],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": str(columns), "TERM": "dumb"},
        check=True,
    ).stdout
    lines = [line.strip() for line in shown.splitlines()]
    steps = [line.split()[1] for line in lines if line[:1].isdigit() and line[1:3] == "  "]
    assert steps == ["train", "export", "build", "calibrate", "pack", "verify", "evaluate"]
    for place in (
        "<id>_temp.*",
        "<id>_test.*",
        "<id>.txt",
        "train/good/*",
        "test/good/*",
        "test/<kind>/*",
        "ground_truth/<kind>/<id>_mask.png",
        "<product>/drawing*.png",
        "<product>/photo*.png",
    ):
        (line,) = [line for line in lines if line.startswith(place)]
        assert len(line.removeprefix(place).split()) >= 2
