"""A verdict fits its record in the ledger, however much there is to tell."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import pytest
from desk import Desk
from parts import part_of

from edge.judges.decide import MAX_REGIONS, Judgement, Rule
from edge.messages import Mask, Prediction, Refused
from edge.recipe import MOST_JUDGES
from edge.stages.verdict import finding_of, record_of
from edge.wire import verdict_from


@pytest.mark.parametrize(("letters", "kept"), [(4, 48), (300, 12), (9_000, 0)])
def test_a_verdict_with_very_many_regions_still_fits(desk: Desk, letters: int, kept: int) -> None:
    """It keeps its strongest regions, as many as its record has room for, and none where none has room."""
    prediction = desk.predict(desk.enter(), 0.9)
    found = finding_of(prediction, desk.ring, desk.rules)
    assert isinstance(found.result, Judgement)
    (region,) = found.result.regions
    regions = [msgspec.structs.replace(region, kind="k" * letters, x=float(x)) for x in range(MAX_REGIONS)]
    found = dataclasses.replace(found, result=dataclasses.replace(found.result, regions=regions))
    record = record_of(found, desk.rules, desk.identity, 1_000, 1)
    desk.ledger.record(0, record)
    assert verdict_from(record.body).regions == regions[:kept]


def test_masks_are_left_out_before_regions_are(desk: Desk) -> None:
    """Of a verdict that is too long, the strongest regions keep their masks, and all keep their boxes."""
    found = finding_of(desk.predict(desk.enter(), 0.9), desk.ring, desk.rules)
    assert isinstance(found.result, Judgement)
    mask = Mask(size=(20, 40), counts=[2] * 400)
    (region,) = found.result.regions
    regions = [msgspec.structs.replace(region, x=float(x), mask=mask) for x in range(12)]
    found = dataclasses.replace(found, result=dataclasses.replace(found.result, regions=regions))
    record = record_of(found, desk.rules, desk.identity, 1_000, 1)
    desk.ledger.record(0, record)
    kept = verdict_from(record.body).regions
    assert [region.x for region in kept] == [float(x) for x in range(12)]
    assert [region.mask for region in kept] == [mask] * 6 + [None] * 6


def test_a_verdict_too_long_for_any_record_is_refused(desk: Desk) -> None:
    """Where nothing is left to leave out, publish ends with an error and does not go on trying."""
    found = finding_of(desk.predict(desk.enter(), 0.9), desk.ring, desk.rules)
    record = record_of(found, desk.rules, dataclasses.replace(desk.identity, recipe="r" * 9_000), 1_000, 1)
    with pytest.raises(ValueError, match="bytes are too many"):
        desk.ledger.record(0, record)


def test_a_verdict_has_room_for_as_many_judges_as_a_recipe_may_name(tmp_path: Path) -> None:
    """With the longest names there are, and words that no JSON likes, it fits the ledger's record."""
    rule = Rule(name="j" * 31, bundle="1" * 64, thresholds={"spot": 1 / 3}, stride=4)
    desk = Desk(tmp_path, (rule,) * MOST_JUDGES)
    refused = Refused(reason="registration", detail="\x00" * 500)
    desk.publisher.take(desk.predict(desk.enter(), *[refused] * MOST_JUDGES))
    desk.publisher.take(desk.predict(desk.enter(), *[0.7] * MOST_JUDGES))
    assert [len(verdict.judges) for _, verdict in desk.publish(12_000)] == [MOST_JUDGES] * 2


def test_a_verdict_has_room_for_the_longest_texts(tmp_path: Path) -> None:
    """Names that JSON doubles, a detail without end, times of stages that there are not: it fits its record."""
    rule = Rule(name="j" * 31, bundle="1" * 64, thresholds={"spot": 1 / 3}, stride=4)
    desk = Desk(tmp_path, (rule,) * MOST_JUDGES, camera="c" * 31)
    named = part_of(0, deadline_ns=50_000, view='"' * 999)
    part = desk.ledger.enter(msgspec.structs.replace(named, camera="c" * 31, source_ref="\\" * 999))
    refused = Refused(reason="registration", detail="cannot open \udcff, " + '"' * 9_999)
    desk.publisher.take(
        Prediction(
            part=part,
            inputs=(refused,) * MOST_JUDGES,
            engine_ns=10**15,
            done_ns={f"stage {number}": number for number in range(999)},
        )
    )
    ((_, verdict),) = desk.publish(49_000)
    assert len(verdict.judges) == MOST_JUDGES
    assert verdict.detail.endswith("…")
    assert len(verdict.source_ref) > 500
