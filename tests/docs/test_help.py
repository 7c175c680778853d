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
from rich.text import Text
from typer.main import get_command

import edge.__main__
import trt_build.__main__

BENCHMARKS = sorted((Path(__file__).parents[2] / "benchmarks").glob("*.py"))
LEAST_WORDS = 4
LEANING = ("likewise", "the other", "of ", "that ", "whose ", "what was", "ditto", "see above", "as above")


def commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """The command and all below it, each by its full name, such as `edge ctl ack`."""
    yield name, command
    for below, one in getattr(command, "commands", {}).items():
        yield from commands(f"{name} {below}", one)


def parameters(name: str, command: Any) -> Iterator[tuple[str, str | None]]:
    """Every option and argument of a command, with its text."""
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


COMMANDS = {
    **dict(commands("edge", get_command(edge.__main__.app))),
    **dict(commands("trt-build", get_command(trt_build.__main__.app))),
}
OPTIONS = {
    **{option: said for name, one in COMMANDS.items() for option, said in parameters(name, one)},
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


@pytest.mark.parametrize("said", [*OPTIONS.values(), *(command.help for command in COMMANDS.values())])
def test_nothing_of_a_text_is_taken_for_markup(said: str | None) -> None:
    """What stands in square brackets, such as a section of a recipe, would not be shown."""
    shown = (said or "").replace("\b", "")  # by this a text says that its lines stay as they are
    assert Text.from_markup(shown).plain == shown


@pytest.mark.parametrize("name", COMMANDS)
def test_what_a_command_does_is_not_torn_apart(name: str) -> None:
    """From the second paragraph on lines are shown as they are written, and fit 80 columns."""
    for paragraph in (COMMANDS[name].help or "").split("\n\n")[1:]:
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
