"""What a machine can hold is measured on it, and told against what a recipe asks for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from edge.bundle import read_bundle
from edge.capacity import LINE_MS, SHARE, Capacity, Timing, capacity_of, time_engine
from edge.check import shortages
from edge.demo import FOLDER, fitted
from edge.engines import open_engine
from edge.judges.judge import Judge, read_judges
from edge.recipe import EngineChoice, Recipe, Video
from edge.recipe_file import read_recipe


def timed(bundle: Path, lanes: int) -> Timing:
    read = read_bundle(bundle)
    with open_engine(EngineChoice(lanes=lanes), read) as engine:
        return time_engine(engine, read)


def test_a_slow_engine_is_timed_as_slow(constant_bundle: Callable[..., Path]) -> None:
    """A part takes at least as long as the engine, and lanes share the wait."""
    found = timed(constant_bundle(delay_ms=20), lanes=2)
    assert found.one_ms >= 20
    assert found.each_ms < found.one_ms


@pytest.mark.parametrize("model", ["tiny_bundle", "score_bundle", "matcher_bundle"])
def test_every_kind_of_model_is_timed(request: pytest.FixtureRequest, model: str) -> None:
    """With masters, without, and with drawings."""
    found = timed(request.getfixturevalue(model), lanes=2)
    assert found.one_ms > 0
    assert found.each_ms > 0


def test_judges_share_the_machine() -> None:
    """Each part costs the sum of what they take, and the guard comes before the deadline."""
    found = capacity_of([Timing(one_ms=10, each_ms=5), Timing(one_ms=30, each_ms=15)], guard_ms=7)
    assert found == Capacity(parts_per_s=SHARE * 50, deadline_ms=LINE_MS + 47)


@pytest.fixture
def recipe() -> Recipe:
    return read_recipe(FOLDER / "recipe.toml")[0]


def test_what_a_machine_cannot_hold_is_named_by_its_key(recipe: Recipe) -> None:
    """With what to do about it; what it holds is not mentioned."""
    assert shortages(recipe, Capacity(parts_per_s=25, deadline_ms=100)) == []
    rate, deadline = shortages(recipe, Capacity(parts_per_s=10, deadline_ms=300))
    assert rate.startswith("source.fps: 20 parts a second come")
    assert deadline.startswith("timing.deadline_ms: 200 ms are shorter")


def test_a_camera_has_no_rate_to_hold_against(recipe: Recipe) -> None:
    """How fast it is triggered is not in the recipe."""
    camera = Video(address="/dev/video0", width=640, height=640)
    seen = msgspec.structs.replace(recipe, source=camera)
    assert shortages(seen, Capacity(parts_per_s=1, deadline_ms=100)) == []


def judges_of(recipe: Recipe, bundle: Path) -> tuple[Recipe, tuple[Judge, ...]]:
    changed = msgspec.structs.replace(recipe, bundle=str(bundle))
    return changed, read_judges(changed)


def test_the_demonstration_slows_down_where_it_must(
    recipe: Recipe, constant_bundle: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    """Late boards would look like overkill; the rate and the deadline follow the machine, with a word."""
    asked, judges = judges_of(recipe, constant_bundle(delay_ms=250))
    _, found = fitted(asked, judges)
    assert found.source.fps < asked.source.fps
    assert found.timing.deadline_ms > 2 * 250
    assert "the demonstration slows down" in caplog.text
    assert "the demonstration's deadline is set to" in caplog.text


def test_the_demonstration_stays_as_it_is_where_it_can(
    recipe: Recipe, constant_bundle: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    """A machine that is fast enough is told nothing; any is, for a board in five seconds."""
    slow = msgspec.structs.replace(
        recipe,
        source=msgspec.structs.replace(recipe.source, fps=0.2),
        timing=msgspec.structs.replace(recipe.timing, deadline_ms=30_000),
    )
    asked, judges = judges_of(slow, constant_bundle())
    engine, found = fitted(asked, judges)
    assert (engine, found) == ("constant fp32", asked)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
