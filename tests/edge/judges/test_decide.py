"""The rule: what the network said, held against thresholds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge.errors import PartError
from edge.judges.decide import MAX_REGIONS, Rule, decide

RULE = Rule(name="defects", bundle="b" * 64, thresholds={"open": 0.5, "short": 0.8}, stride=4)
ODD = Rule(name="oddity", bundle="b" * 64, thresholds={"anomaly": 7.5}, stride=4, region_from=2.0)
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


@pytest.mark.parametrize(
    ("to_frame", "box", "area_px"),
    [
        ((2.0, 0.0, 100.0, 0.0, 2.0, -10.0), (136, 14, 16, 8), 128),
        ((0.0, -2.0, 100.0, 3.0, 0.0, 50.0), (68, 104, 8, 24), 192),
        ((1.0, 0.5, 0.0, 0.25, 1.0, 0.0), (24, 16.5, 10, 6), 28),
        ((-1.0, 0.0, 100.0, 0.0, 1.0, 0.0), (74, 12, 8, 4), 32),
    ],
    ids=["enlarged and moved", "a quarter turn", "sheared", "mirrored"],
)
def test_regions_are_told_in_frame_pixels(
    to_frame: tuple[float, float, float, float, float, float],
    box: tuple[float, float, float, float],
    area_px: int,
) -> None:
    """The box is upright in the camera's picture and holds the whole defect, however the part lies there."""
    (region,) = decide(outputs((0, 3, 5, 0.9)), to_frame, RULE).regions
    assert (region.x, region.y, region.w, region.h) == box
    assert region.area_px == area_px


def test_a_region_below_the_least_area_is_not_held_against_the_part() -> None:
    """The recipe's min_area_px lets specks pass, counted in frame pixels."""
    rule = replace(RULE, min_area_px=33)
    assert decide(outputs((0, 3, 5, 0.9)), AS_IS, rule).verdict == "pass"
    assert decide(outputs((0, 3, 5, 0.9)), (2.0, 0.0, 0.0, 0.0, 2.0, 0.0), rule).verdict == "reject"


def test_a_part_full_of_defects_is_described_by_the_strongest() -> None:
    """However many regions there are, the verdict stays small and is still a reject."""
    peaks = [(0, row, column, 0.6 + row / 100) for row in range(0, 16, 2) for column in range(0, 16, 2)]
    found = decide(outputs(*peaks), AS_IS, RULE)
    assert found.verdict == "reject"
    assert len(found.regions) == MAX_REGIONS
    assert found.regions[0].score == pytest.approx(0.74)


def scored(score: float, *peaks: tuple[int, int, float]) -> dict[str, np.ndarray]:
    """What an anomaly model says: a score, and a quiet map with these peaks (row, column, heat)."""
    heat = np.zeros((1, 1, 16, 16), np.float32)
    for row, column, value in peaks:
        heat[0, 0, row, column] = value
    return {"score": np.array([score], np.float32), "map": heat}


@pytest.mark.parametrize(("score", "verdict"), [(7.4999, "pass"), (7.5, "reject"), (7.5001, "reject")])
def test_the_threshold_is_the_least_score_that_is_rejected(score: float, verdict: str) -> None:
    """A score at its threshold rejects; what the recipe says is not a bound that may be reached."""
    found = decide(scored(score), AS_IS, ODD)
    assert (found.verdict, found.threshold) == (verdict, 7.5)
    assert found.score == pytest.approx(score)


def test_where_a_model_gives_a_score_the_score_decides() -> None:
    """However hot the map is in one place, a part whose score is low passes; and the other way round."""
    assert decide(scored(1.0, (3, 5, 99.0)), AS_IS, ODD).verdict == "pass"
    found = decide(scored(9.0), AS_IS, ODD)
    assert (found.verdict, found.reason, found.regions) == ("reject", "defect", [])


def test_the_map_shows_where_a_part_is_odd() -> None:
    """Cells from `region_from` on are a region, in frame pixels, and neighbours are one."""
    found = decide(scored(9.0, (3, 5, 2.0), (3, 6, 4.0), (9, 9, 1.99)), (2.0, 0, 10.0, 0, 2.0, 0), ODD)
    (region,) = found.regions
    assert (region.kind, region.score) == ("anomaly", 4.0)
    assert (region.x, region.y, region.w, region.h, region.area_px) == (50, 24, 16, 8, 128)


def test_without_a_least_value_the_map_shows_no_region() -> None:
    """A bundle that does not say from when on a cell is odd gives verdicts without regions."""
    assert decide(scored(9.0, (3, 5, 99.0)), AS_IS, replace(ODD, region_from=None)).regions == []


def test_a_speck_is_not_shown_as_a_region() -> None:
    """min_area_px keeps small regions out of a verdict by score too; the verdict stays what it was."""
    found = decide(scored(9.0, (3, 5, 4.0)), AS_IS, replace(ODD, min_area_px=17))
    assert (found.verdict, found.regions) == ("reject", [])


def test_another_product_is_rejected_for_that() -> None:
    """A matcher's reject says `product`, so that nobody looks for a defect."""
    rule = Rule(name="product", bundle="b" * 64, thresholds={"product": 0.3}, stride=1)
    assert decide({"score": np.array([0.4], np.float32)}, AS_IS, rule).reason == "product"
    assert decide({"score": np.array([0.2], np.float32)}, AS_IS, rule).reason == "clean"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["map", "extents", "map beside a score", "score"])
def test_what_is_not_a_number_never_passes(name: str, value: float) -> None:
    """One NaN or infinity anywhere in the outputs, be it of boxes or of a score, and the part is unknown."""
    given, rule = (scored(1.0), ODD) if "score" in name else (outputs(), RULE)
    given[name.split()[0]].flat[-1] = value
    with pytest.raises(PartError) as error:
        decide(given, AS_IS, rule)
    assert error.value.reason == "score"


def test_a_score_has_the_p_value_of_its_calibration() -> None:
    """The share of good parts, the part among them, that score as high; none without a calibration."""
    rule = replace(ODD, calibration=np.array([1.0, 2.0, 3.0, 7.0]))
    assert decide(scored(3.0), AS_IS, rule).p_value == pytest.approx(3 / 5)
    assert decide(scored(8.0), AS_IS, rule).p_value == pytest.approx(1 / 5)
    assert decide(scored(8.0), AS_IS, ODD).p_value is None


def test_a_comparators_p_value_is_that_of_the_kind_nearest_to_its_threshold() -> None:
    """With a threshold for each kind, good parts were calibrated on how much of it they used up."""
    rule = replace(RULE, calibration=np.array([0.1, 0.3, 0.5, 0.7]))
    assert decide(outputs((0, 3, 3, 0.1), (1, 9, 9, 0.48)), AS_IS, rule).p_value == pytest.approx(2 / 5)


def test_a_recipes_own_threshold_makes_a_part_no_rarer() -> None:
    """A p-value is among good parts as the model was calibrated; its threshold changes the verdict alone."""
    good = np.array([0.1, 0.3, 0.5, 0.7])
    rule = replace(RULE, calibration=good, calibrated_at=RULE.thresholds)
    for thresholds in ({"open": 0.9, "short": 0.9}, {"open": 0.05, "short": 0.9}):
        found = decide(outputs((1, 9, 9, 0.48)), AS_IS, replace(rule, thresholds=thresholds))
        assert found.p_value == pytest.approx(2 / 5)


IGNORED = np.zeros((16, 16), bool)
IGNORED[2:6, 2:6] = True


def test_a_cell_that_is_ignored_makes_no_region() -> None:
    """However hot it is; the score is that of the other cells."""
    rule = replace(RULE, ignored=IGNORED)
    found = decide(outputs((0, 3, 3, 0.9), (0, 9, 9, 0.3)), AS_IS, rule)
    assert (found.verdict, found.regions, found.score) == ("pass", [], pytest.approx(0.3))
    assert decide(outputs((0, 3, 3, 0.9)), AS_IS, RULE).verdict == "reject"


def test_a_defect_beside_what_is_ignored_is_found_where_it_is() -> None:
    """A hotter cell under the mask neither hides it nor moves its box."""
    alone = decide(outputs((0, 6, 6, 0.7)), AS_IS, replace(RULE, ignored=IGNORED))
    beside = decide(outputs((0, 6, 6, 0.7), (0, 5, 5, 0.9)), AS_IS, replace(RULE, ignored=IGNORED))
    assert alone.regions == beside.regions
    assert len(alone.regions) == 1


def test_what_a_score_shows_leaves_out_what_is_ignored() -> None:
    """For a model of good parts, whose score the model gives itself."""
    heat = np.zeros((1, 1, 16, 16), np.float32)
    heat[0, 0, 3, 3], heat[0, 0, 9, 9] = 5, 3
    shown = {"score": np.array([9], np.float32), "map": heat}
    found = decide(shown, AS_IS, replace(ODD, ignored=IGNORED))
    assert [(region.x, region.y) for region in found.regions] == [(36, 36)]
