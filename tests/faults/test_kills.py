"""Processes of a line are killed and stopped at random: no part loses its verdict or gets another part's."""

from __future__ import annotations

import random
import time

import pytest
from watched import Watched, kill, stopped

from edge.line.plan import SPARE
from edge.memory.stages import STAGES

#: Of the random instants; the same seed kills at the same instants.
SEED = 11
PAIRS = [
    ("capture", "publish"),
    ("preprocess", "infer"),
    ("infer", "publish"),
    ("capture", "infer"),
    ("infer", SPARE),
]


def wait_a_moment(rng: random.Random) -> None:
    """Let a random time of a few parts pass, so that the fault comes at any instant of a part."""
    time.sleep(rng.uniform(0, 0.12))


@pytest.mark.parametrize("stage", [*STAGES, SPARE, "fork server"])
def test_a_killed_stage_takes_no_verdict_with_it(accounted: Watched, stage: str) -> None:
    """Each dies twice, the second time while the line recovers; so do the spare and the fork server."""
    rng = random.Random(f"{SEED} {stage}")
    for _ in range(2):
        wait_a_moment(rng)
        accounted.until(lambda: stage in accounted.processes(), f"{stage} is there")
        kill(accounted.processes()[stage])


@pytest.mark.parametrize("pair", PAIRS, ids=" and ".join)
def test_two_stages_killed_at_once_take_no_verdict_with_them(accounted: Watched, pair: tuple[str, str]) -> None:
    """Two die in the same instant."""
    wait_a_moment(random.Random(f"{SEED} {pair}"))
    accounted.until(lambda: set(pair) <= accounted.processes().keys(), "both are there")
    there = accounted.processes()
    for stage in pair:
        kill(there[stage])


@pytest.mark.parametrize("stage", [*STAGES, "supervisor"])
def test_a_stage_that_stands_still_for_a_while_takes_no_verdict_with_it(accounted: Watched, stage: str) -> None:
    """It is stopped for longer than a deadline, and goes on in the middle of what it did."""
    rng = random.Random(f"{SEED} {stage} stopped")
    wait_a_moment(rng)
    with stopped(accounted.processes()[stage]):
        time.sleep(0.7)


def test_a_killed_supervisor_and_a_killed_line_take_no_verdict_with_them(accounted: Watched) -> None:
    """What they had captured has its verdict from their last publish, or from the line that is started next."""
    rng, starts = random.Random(SEED), accounted.starts
    for everyone in (False, True):
        wait_a_moment(rng)
        there = accounted.processes()
        for pid in there.values() if everyone else [there["supervisor"]]:
            kill(pid)
        starts += 1
        accounted.until(lambda starts=starts: accounted.starts >= starts, "the line is started again")
        accounted.await_well()
