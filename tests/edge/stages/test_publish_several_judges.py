"""A verdict of several judges: each tells what it made of the part, and one decision is made of all."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pytest
from desk import DARK, INPUT, RULE, Desk

from edge.judges.decide import Rule
from edge.judges.rules import read_rules, write_rules
from edge.messages import Input, Judged, Refused
from edge.recipe import Fusion

MOVED = Refused(reason="registration", detail="moved 40 px")
NEAR, FAR, ALONE = (Input(to_frame=INPUT.to_frame, registration_px=px) for px in (0.5, 0.8, None))


@pytest.fixture
def two(tmp_path: Path) -> Desk:
    """With a judge that rejects spots from 0.5 on, and one that rejects stains from 0.7 on."""
    return Desk(tmp_path, (RULE, Rule(name="stains", bundle="2" * 64, thresholds={"stain": 0.7}, stride=4)))


def test_a_verdict_tells_what_each_judge_made_of_the_part(two: Desk) -> None:
    """By the judge's name, in the recipe's order, with its score, threshold and bundle."""
    two.publisher.take(two.predict(two.enter(), 0.6, 0.6))
    ((topic, verdict),) = two.publish(12_000)
    assert (topic, verdict.verdict, verdict.score, verdict.threshold) == ("reject.pcb", "reject", 0.6, 0.5)
    judged = partial(Judged, score=0.6, p_value=None)
    assert verdict.judges == [
        judged(name="spots", verdict="reject", reason="defect", threshold=0.5, bundle="1" * 64),
        judged(name="stains", verdict="pass", reason="clean", threshold=0.7, bundle="2" * 64),
    ]
    assert [region.kind for region in verdict.regions] == ["spot"]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ((0.1, 0.1), ("accept.pcb", "pass", "clean")),
        ((0.1, MOVED), ("reject.pcb", "unknown", "registration")),
        ((MOVED, 0.1), ("reject.pcb", "unknown", "registration")),
        ((0.1, float("nan")), ("reject.pcb", "unknown", "score")),
        ((MOVED, 0.9), ("reject.pcb", "reject", "defect")),
        ((float("nan"), 0.9), ("reject.pcb", "reject", "defect")),
        ((MOVED, DARK), ("reject.pcb", "unknown", "registration")),
    ],
    ids=["clean", "second moved", "first moved", "second NaN", "moved, defect", "NaN, defect", "neither"],
)
def test_a_part_passes_only_where_every_judge_passed_it(
    two: Desk, said: tuple[float | Refused, ...], expected: tuple[str, str, str]
) -> None:
    """A judge that could not look leaves the others their say; where they find nothing, the part is unknown."""
    two.publisher.take(two.predict(two.enter(), *said))
    ((topic, verdict),) = two.publish(12_000)
    assert (topic, verdict.verdict, verdict.reason) == expected
    assert [judged.name for judged in verdict.judges] == ["spots", "stains"]
    for judged, heat in zip(verdict.judges, said, strict=True):
        refused = isinstance(heat, Refused) or np.isnan(heat)
        assert (judged.verdict == "unknown") == (judged.score is None) == refused
    if verdict.verdict == "unknown":
        assert verdict.detail
        assert verdict.score is None


def test_an_unknown_is_let_through_only_if_all_its_reasons_are(two: Desk) -> None:
    """The recipe lets dark parts through; one that another judge could not look at for its own is not."""
    two.publisher.take(two.predict(two.enter(), DARK, 0.1))
    two.publisher.take(two.predict(two.enter(), DARK, DARK))
    two.publisher.take(two.predict(two.enter(), DARK, MOVED))
    two.publisher.take(two.predict(two.enter(), MOVED, DARK))
    two.publisher.take(two.predict(two.enter(), DARK, 0.9))
    found = two.publish(12_000)
    assert [topic for topic, _ in found] == ["accept.pcb"] * 2 + ["reject.pcb"] * 3
    assert [verdict.verdict for _, verdict in found] == ["unknown"] * 4 + ["reject"]


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ((NEAR, FAR), 0.8),
        ((FAR, NEAR), 0.8),
        ((MOVED, NEAR), 0.5),
        ((ALONE, NEAR), 0.5),
        ((ALONE, ALONE), None),
        ((MOVED, ALONE), None),
    ],
    ids=["second worse", "first worse", "refused", "no masters", "no masters at all", "refused, no masters"],
)
def test_the_registration_told_is_the_worst_of_any_judge(
    two: Desk, inputs: tuple[Input | Refused, ...], told: float | None
) -> None:
    """A part that lies badly for one judge is not hidden; one without masters or that was refused has none."""
    prediction = two.predict(two.enter(), 0.1, 0.1)
    two.publisher.take(msgspec.structs.replace(prediction, inputs=inputs))
    assert [verdict.registration_px for _, verdict in two.publish(12_000)] == [told]


def test_p_values_of_all_judges_decide_together(tmp_path: Path) -> None:
    """With a fusion the verdict has the p-value of all, each judge its own, to four digits."""
    good = np.linspace(0.0, 0.29, 29)
    rules = tuple(
        Rule(name=name, bundle="1" * 64, thresholds={"spot": 1.0}, stride=4, calibration=good) for name in "ab"
    )
    desk = Desk(tmp_path, rules, Fusion(how="fisher", false_reject=0.01))
    desk.publisher.take(desk.predict(desk.enter(), 0.3, 0.3))
    desk.publisher.take(desk.predict(desk.enter(), 0.3, 0.05))
    (_, odd), (_, usual) = desk.publish(12_000)
    assert (odd.verdict, odd.reason, odd.p_value) == ("reject", "defect", 0.008669)
    assert [judged.p_value for judged in odd.judges] == [0.03333, 0.03333]
    assert usual.verdict == "pass"
    assert usual.p_value == 0.1273


def test_how_verdicts_are_made_is_written_down_whole(tmp_path: Path) -> None:
    """A publisher that is started anew makes the same verdicts, to the last digit, without a bundle."""
    good = np.linspace(0.0, 1 / 3, 29)
    rules = tuple(
        Rule(name=name, bundle="1" * 64, thresholds={"spot": 1 / 3, "cut": 0.1}, stride=4, calibration=array)
        for name, array in (("a", good), ("b", None))
    )
    desk = Desk(tmp_path, rules, Fusion(how="fisher", false_reject=0.01))
    write_rules(tmp_path, {"top": desk.rules})
    read = read_rules(tmp_path)["top"]
    assert np.array_equal(read.judges[0].calibration, good)
    assert dataclasses.replace(read.judges[0], calibration=None) == dataclasses.replace(
        rules[0], calibration=None
    )
    assert (read.judges[1], read.outputs, read.fusion) == (rules[1], desk.rules.outputs, desk.rules.fusion)
    assert list(read.judges[0].thresholds) == ["spot", "cut"]
