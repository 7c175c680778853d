"""docs/promises.md: each promise says how it is kept and which tests show it, and these tests exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "promises.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in re.findall(r"^\|.+\|$", TEXT, re.MULTILINE)
    if not line.startswith(("| Promise", "|---"))
]
TESTS = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", TEXT)))


def test_each_promise_says_how_it_is_kept_and_what_shows_it() -> None:
    """A promise without a test is a wish."""
    assert len(ROWS) > 20
    for promise, how, shown in ROWS:
        assert promise
        assert how
        assert re.fullmatch(r"`[\w/]+\.py::test_\w+`(, `[\w/]+\.py::test_\w+`)*", shown), shown


@pytest.mark.parametrize(("path", "name"), TESTS, ids="::".join)
def test_each_test_that_is_named_exists(path: str, name: str) -> None:
    """Whoever doubts a promise finds what to run."""
    tree = ast.parse((ROOT / "tests" / path).read_text())
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
