"""docs/recipe.md names each key of a recipe as the code has it."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
WRITTEN = (DOCS / "recipe.md").read_text()


def test_the_keys_are_up_to_date() -> None:
    """Who writes a recipe by the document gets what it says; else run `python docs/recipe_keys.py`."""
    assert runpy.run_path(str(DOCS / "recipe_keys.py"))["document"]() == WRITTEN


def test_a_key_is_told_with_its_values_default_and_meaning() -> None:
    """A number with its range, a choice with its values, and a comment that belongs to this key alone."""
    assert "| `guard_ms` | a number from 0.5 to 10000 | `10.0` | this long before it a part turns" in WRITTEN
    assert "| `bits` | 16, 32 or 64 | `32` | after which its count starts again |" in WRITTEN
    assert "| `stop_s` | a number from 0 to 3600 | `0.0` |  |" in WRITTEN
    assert (
        "| `frozen_after` | a whole number from 0 to 1000 | `1` | A camera's parts are `unknown` after"
        in WRITTEN
    )
