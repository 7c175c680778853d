"""The documented schemas are those of the code."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import jsonschema
import pytest

DOCS = Path(__file__).parents[2] / "docs"
GENERATOR = runpy.run_path(str(DOCS / "schema.py"))


@pytest.mark.parametrize("name", GENERATOR["SCHEMAS"])
def test_the_documented_schema_is_up_to_date(name: str) -> None:
    """Who writes a subscriber by the documents gets what the line sends; else run `python docs/schema.py`."""
    assert (DOCS / name).read_text() == GENERATOR["schema_text"](GENERATOR["SCHEMAS"][name])


@pytest.mark.parametrize("name", GENERATOR["SCHEMAS"])
def test_the_documented_schema_is_a_schema(name: str) -> None:
    """Any JSON Schema tool can read it."""
    jsonschema.Draft202012Validator.check_schema(json.loads((DOCS / name).read_text()))
