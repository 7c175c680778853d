"""What the README shows is what works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import msgspec

from edge.messages import Reason, Verdict
from edge.recipe import read_recipe

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_recipe_shown_is_a_recipe(tmp_path: Path) -> None:
    """Who copies the recipe gets no error about it."""
    (shown,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "pcb.toml").write_text(shown)
    recipe, _ = read_recipe(tmp_path / "pcb.toml")
    assert recipe.rule.unknown == {"dark": "accept"}


def test_the_verdict_shown_is_a_verdict() -> None:
    """Who parses the example parses what the line sends, with all of its fields."""
    (shown,) = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    verdict = msgspec.json.decode(shown, type=Verdict)
    assert set(msgspec.json.decode(shown)) == set(Verdict.__struct_fields__)
    parts = [verdict.latency_us[stage] for stage in ("capture", "preprocess", "infer", "publish")]
    assert sum(parts) == verdict.latency_us["total"] == (verdict.published_ns - verdict.captured_ns) // 1000


def test_the_reasons_told_are_those_there_are() -> None:
    """Who sorts parts by their reason has read of each one that a part can be rejected for or unknown by."""
    (told,) = re.findall(r"\n`verdict` is (.*?)\n\n", README, re.DOTALL)
    missing = [reason for reason in get_args(Reason) if reason != "clean" and f"`{reason}`" not in told]
    assert missing == []


def test_what_is_linked_exists() -> None:
    """No link of the README leads nowhere."""
    links = re.findall(r"\]\(([^):]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
