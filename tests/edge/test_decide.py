"""The rule: what the network said, held against thresholds."""

from __future__ import annotations

import numpy as np
import pytest

from edge.decide import MAX_REGIONS, Rule, decide
from edge.errors import PartError

RULE = Rule(thresholds={"open": 0.5, "short": 0.8}, stride=4)
AS_IS = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def outputs(*peaks: tuple[int, int, int, float]) -> dict[str, np.ndarray]:
    """A quiet map with these peaks (kind, row, column, heat), each 8 px wide and 4 px high."""
    heat = np.zeros((1, 2, 16, 16), np.float32)
    for kind, row, column, value in peaks:
        heat[0, kind, row, column] = value
    extents = np.empty((1, 4, 16, 16), np.float32)
    extents[0] = np.array([4, 2, 4, 2], np.float32)[:, None, None]
    return {"map": heat, "extents": extents}


def test_a_quiet_map_passes() -> None:
    """Nothing over a threshold is a pass, and the score says how near it came."""
    found = decide(outputs((0, 3, 3, 0.4)), AS_IS, RULE)
    assert (found.verdict, found.reason, found.regions) == ("pass", "clean", [])
    assert (found.score, found.threshold) == (pytest.approx(0.4), 0.5)


def test_a_defect_rejects_and_is_named_where_it_is() -> None:
    """A heat over its kind's threshold is a reject with its place in the frame."""
    found = decide(outputs((0, 3, 5, 0.9)), AS_IS, RULE)
    assert (found.verdict, found.reason) == ("reject", "defect")
    (region,) = found.regions
    assert (region.kind, region.x, region.y, region.w, region.h) == ("open", 18, 12, 8, 4)
    assert (region.area_px, region.score) == (32, pytest.approx(0.9))


def test_each_kind_has_its_own_threshold() -> None:
    """The same heat rejects as one kind and passes as another; the score names the kind that is nearest."""
    assert decide(outputs((1, 3, 3, 0.7)), AS_IS, RULE).verdict == "pass"
    found = decide(outputs((1, 3, 3, 0.9), (0, 9, 9, 0.6)), AS_IS, RULE)
    assert [region.kind for region in found.regions] == ["short", "open"]
    assert (found.score, found.threshold) == (pytest.approx(0.6), 0.5)


def test_regions_are_told_in_frame_pixels() -> None:
    """The box is where the defect is in the camera's picture, not in the model's input."""
    found = decide(outputs((0, 3, 5, 0.9)), (2.0, 0.0, 100.0, 0.0, 2.0, -10.0), RULE)
    (region,) = found.regions
    assert (region.x, region.y, region.w, region.h, region.area_px) == (136, 14, 16, 8, 128)


def test_a_region_below_the_least_area_is_not_held_against_the_part() -> None:
    """The recipe's min_area_px lets specks pass, counted in frame pixels."""
    rule = Rule(thresholds=RULE.thresholds, stride=4, min_area_px=33)
    assert decide(outputs((0, 3, 5, 0.9)), AS_IS, rule).verdict == "pass"
    assert decide(outputs((0, 3, 5, 0.9)), (2.0, 0.0, 0.0, 0.0, 2.0, 0.0), rule).verdict == "reject"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["map", "extents"])
def test_what_is_not_a_number_never_passes(name: str, value: float) -> None:
    """One NaN or infinity anywhere in the outputs and the part is unknown."""
    given = outputs()
    given[name][0, 1, 15, 15] = value
    with pytest.raises(PartError) as error:
        decide(given, AS_IS, RULE)
    assert error.value.reason == "score"


def test_a_part_full_of_defects_is_described_by_the_strongest() -> None:
    """However many regions there are, the verdict stays small and is still a reject."""
    peaks = [(0, row, column, 0.6 + row / 100) for row in range(0, 16, 2) for column in range(0, 16, 2)]
    found = decide(outputs(*peaks), AS_IS, RULE)
    assert found.verdict == "reject"
    assert len(found.regions) == MAX_REGIONS
    assert found.regions[0].score == pytest.approx(0.74)
