"""The loop of infer on a GPU in virtual time: one lane copies while another computes, and no lane idles."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from bundles import write_anomaly
from fake_gpu import parts_in_time
from fake_gpu.machine import Machine
from fake_gpu.parts_in_time import COPY_NS, Told
from fake_gpu.plans import write_engines

PARTS = 400


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    bundle = tmp_path / "bundle"
    write_anomaly(bundle)
    write_engines(bundle, batch=1)
    return bundle


def run(bench: Machine, bundle: Path, lanes: int, period_ns: int) -> Told:
    script = Path(parts_in_time.__file__)
    return msgspec.convert(bench.ask(script, str(bundle), str(lanes), str(PARTS), str(period_ns)), Told)


def test_two_lanes_do_nearly_twice_as_much_as_one(bench: Machine, bundle: Path) -> None:
    """Where a copy takes as long as the network, and parts come at random, faster than two lanes judge them."""
    one, two = (run(bench, bundle, lanes, round(0.8 * COPY_NS)) for lanes in (1, 2))
    assert (one.right, two.right) == (PARTS + 2, PARTS + 4)
    assert one.wrong + two.wrong == []
    assert one.took_ns / two.took_ns >= 1.9


def test_no_part_waits_while_a_lane_is_idle(bench: Machine, bundle: Path) -> None:
    """Parts that come at random start at once, whatever the other lane does meanwhile."""
    told = run(bench, bundle, 2, 2 * COPY_NS)
    assert told.right == PARTS + 4
    assert max(told.idle_ns) == 0
