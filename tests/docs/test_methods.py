"""docs/methods.md: each statement of a source has a command, a test and a figure, and these exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import typer

from trt_build.__main__ import app

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "methods.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in re.findall(r"^\|.+\|$", TEXT, re.MULTILINE)
    if not line.startswith(("| Statement", "|---"))
]
TESTS = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", TEXT)))
COMMANDS = sorted(set(re.findall(r"`((?:trt-build|edge|python) [^`]+)`", TEXT)))


def test_each_statement_has_a_command_a_test_and_a_figure() -> None:
    """No cell is empty: what was not measured says so."""
    assert len(ROWS) > 30
    for row in ROWS:
        assert len(row) == 4, row
        assert all(row), row
        assert "::" in row[2], row


@pytest.mark.parametrize(("path", "name"), TESTS, ids="::".join)
def test_each_test_that_is_named_exists(path: str, name: str) -> None:
    """Whoever wants to see a statement tested finds the test."""
    tree = ast.parse((ROOT / "tests" / path).read_text())
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("line", COMMANDS)
def test_each_command_exists_with_its_options(line: str) -> None:
    """A command can be copied into a terminal."""
    program, *words = line.split()
    if program == "python":
        source = (ROOT / words[0]).read_text()
        assert [word for word in words if word.startswith("--") and f'"{word}"' not in source] == []
        return
    assert program == "trt-build"
    command: Any = typer.main.get_command(app)
    while words and hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    known = {name for parameter in command.params for name in parameter.opts}
    assert [word for word in words if word.startswith("--") and word not in known] == []
