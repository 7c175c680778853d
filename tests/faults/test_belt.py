"""A line with four cameras whose triggers fail is broken: no look is lost or credited to another part."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest
from belt_lines import CAMERAS, belt_recipe
from bundles import KINDS, comparator_manifest
from watched import Watched, kill, stopped

from edge.bundle import write_manifest

FIRST = next(iter(CAMERAS))
SEED = 3


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A line with 4 % of all triggers lost, doubled and spurious, at each camera."""
    bundle = tmp_path_factory.mktemp("constant")
    write_manifest(bundle, comparator_manifest(KINDS, name="constant", method="constant", metadata={}))
    ejector = "[ejector]\nat = 900\nlead_ms = 20"
    recipe = belt_recipe(tmp_path_factory.mktemp("line"), bundle, parts=0, fault=0.04, more=ejector)
    with Watched(recipe, lambda key, name: None) as found:
        found.judged_within_s = 1.0  # a part needs 0.3 s to pass all cameras
        yield found


@pytest.fixture
def accounted(line: Watched) -> Iterator[Watched]:
    line.await_well()
    yield line
    line.await_well()
    found = line.belt_account(FIRST)
    assert found.parts > 0
    assert not found.faults, found


@pytest.mark.parametrize(
    "name", [*(f"capture.{camera}" for camera in CAMERAS), "preprocess.left", "infer", "publish"]
)
def test_a_killed_process_costs_no_look(accounted: Watched, name: str) -> None:
    """While the belt runs on; what nobody saw is missing."""
    time.sleep(random.Random(f"{SEED} {name}").uniform(0, 0.2))
    kill(accounted.processes()[name])


@pytest.mark.parametrize("name", ["capture.top", "capture.right", "publish"])
def test_a_process_that_stands_still_costs_no_look(accounted: Watched, name: str) -> None:
    """For longer than a part needs to the ejector."""
    with stopped(accounted.processes()[name]):
        time.sleep(1.2)


def test_a_killed_supervisor_costs_no_look(accounted: Watched) -> None:
    """The next run of the line tells of what the killed one had captured."""
    starts = accounted.starts
    kill(accounted.processes()["supervisor"])
    accounted.until(lambda: accounted.starts > starts, "the line is started again")
