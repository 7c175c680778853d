"""The page about alarms names every alarm and every key, with the defaults of the code."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from edge.alarms.alarms import names_of
from edge.documents.toml import read_toml
from edge.recipe import AlarmLimits

PAGE = (Path(__file__).parents[2] / "docs/alarms.md").read_text()


def test_every_alarm_is_named() -> None:
    """Who gets an alarm finds its name on the page."""
    rows = re.findall(r"^\| (`[^|]+`) \|", PAGE.partition("## What to do")[0], re.MULTILINE)
    named = re.findall(r"`([^`]+)`", " ".join(rows))
    limits = AlarmLimits(consecutive_of={"<reason>": 1})
    assert sorted(named) == sorted(names_of(limits))


def test_the_recipe_shown_has_every_key_with_its_default() -> None:
    """Who copies the section changes nothing, but for the one key that has no default to show."""
    (shown,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    section = read_toml(shown.encode())["alarms"]
    assert set(section) == set(AlarmLimits.__struct_fields__)
    limits = msgspec.convert(section, AlarmLimits)
    assert msgspec.structs.replace(limits, consecutive_of={}) == AlarmLimits()
