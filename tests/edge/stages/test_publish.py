"""The publisher's promise, with the time as an argument: one verdict a part, in order, before its deadline."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path

import jsonschema
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parts import part_of

from edge.belt.course import ByTime
from edge.belt.join import Join
from edge.belt.layout import Layout
from edge.judges.decide import MAX_REGIONS, Judgement, Rule
from edge.judges.rules import Rules, read_rules, write_rules
from edge.memory.ledger import Ledger, Record
from edge.memory.ring import Ring, as_outputs
from edge.messages import UNSEEN_SLOT, Input, Judged, Mask, Prediction, Refused, Unknown, Verdict
from edge.recipe import MOST_JUDGES, Fusion
from edge.stages.publisher import Publisher
from edge.stages.state import State
from edge.stages.verdict import Identity, finding_of, record_of
from edge.wire import verdict_from

SHAPES = {"map": (1, 1, 8, 8)}
RULE = Rule(name="spots", bundle="1" * 64, thresholds={"spot": 0.5}, stride=4)
INPUT = Input(to_frame=(1, 0, 0, 0, 1, 0), registration_px=0.5)
GUARD_NS = 10
DARK = Refused(reason="dark", detail="the picture's contrast is 2 grey levels")
IDENTITY = Identity(line="pcb", run="0" * 16, recipe="r" * 64, bundle="b" * 64, accepted=frozenset({"dark"}))


class Desk:
    """A publisher on a real ring and ledger; a part is due 50 us after its capture."""

    def __init__(
        self,
        folder: Path,
        rules: tuple[Rule, ...] = (RULE,),
        fusion: Fusion | None = None,
        accepted: str = "dark",
        camera: str = "camera",
    ) -> None:
        self.folder, self.camera = folder, camera
        self.identity = dataclasses.replace(IDENTITY, accepted=frozenset({accepted}))
        self.rules = Rules(judges=rules, outputs=(SHAPES,) * len(rules), fusion=fusion)
        sizes = {"tensors": [8] * len(rules), "outputs": [256] * len(rules)}
        self.ring = Ring.create(folder / "ring", slots=8, frame=8, **sizes)
        self.ledger = Ledger.create(folder / "ledger")
        self.hold = ""
        self.publisher = self.publisher_anew()

    def publisher_anew(self) -> Publisher:
        ring, ledger = Ring.open(self.folder / "ring"), Ledger.open(self.folder / "ledger")
        ledgers = {self.camera: ledger}
        join = Join(ledgers, Layout(), ByTime())
        rings, rules = {self.camera: ring}, {self.camera: self.rules}
        return Publisher(
            rings, ledgers, rules, self.identity, GUARD_NS, State({}, {}, hold=lambda: self.hold), join
        )

    def enter(self, at_ns: int = 0) -> int:
        entry = self.ledger.captured
        slot, generation = self.ring.lease(entry, self.ledger.published)
        part = part_of(entry, slot=slot, generation=generation, captured_ns=at_ns, deadline_ns=at_ns + 50_000)
        self.ledger.enter(part)
        return entry

    def predict(self, entry: int, *said: float | Refused) -> Prediction:
        """Each judge's hottest cell, or why it could not look."""
        part = self.ledger.part(entry)
        for number, heat in enumerate(said):
            if not isinstance(heat, Refused):
                with self.ring.area(part, "outputs", number) as area:
                    as_outputs(area, SHAPES)["map"][:] = 0
                    as_outputs(area, SHAPES)["map"][0, 0, 2, 2] = heat
        done_ns = {"capture": part.captured_ns + 2_500, "infer": part.captured_ns + 9_100}
        return Prediction(
            part=part,
            inputs=tuple(heat if isinstance(heat, Refused) else INPUT for heat in said),
            engine_ns=4_000,
            done_ns=done_ns,
        )

    def publish(self, now_ns: int) -> list[tuple[str, Verdict]]:
        found = []
        while (record := self.publisher.next(lambda: now_ns)) is not None:
            found.append((record.topic.decode(), verdict_from(record.body)))
            self.publisher.sent(record)
        return found


def marked(record: Record | None) -> Record:
    assert record is not None
    assert record.body.count(b'"resent":false') == 1
    return dataclasses.replace(record, body=record.body.replace(b'"resent":false', b'"resent":true'))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_judged_part_is_published_at_once(desk: Desk) -> None:
    """A prediction becomes a verdict on its topic, with its times, digests and region."""
    desk.publisher.take(desk.predict(desk.enter(), 0.9))
    ((topic, verdict),) = desk.publish(12_000)
    assert topic == "reject.pcb"
    assert (verdict.verdict, verdict.reason, verdict.part_id) == ("reject", "defect", "1-1")
    assert verdict.latency_us == {"capture": 2, "infer": 7, "publish": 3, "engine": 4, "total": 12}
    assert (verdict.recipe, verdict.bundle) == (IDENTITY.recipe, IDENTITY.bundle)
    assert [region.kind for region in verdict.regions] == ["spot"]
    assert verdict.captured_at == "2023-11-14T22:13:20.000000Z"


def test_a_part_that_nobody_saw_is_missing_at_once_and_in_its_place(desk: Desk) -> None:
    """Nobody has to answer about it, not even after a restart; `late` would hide what went wrong."""
    desk.publisher.take(desk.predict(desk.enter(at_ns=1_000_000), 0.1))
    for at_ns in (2_000, 3_000_000):
        row = part_of(desk.ledger.captured, slot=UNSEEN_SLOT, captured_ns=at_ns, deadline_ns=at_ns + 50_000)
        desk.ledger.enter(row)
    desk.enter(at_ns=4_000_000)
    desk.publisher = desk.publisher_anew()
    assert desk.publish(1_030_000) == []
    desk.publisher.take(desk.predict(0, 0.1))
    found = desk.publish(1_030_000)
    assert [(topic, verdict.reason) for topic, verdict in found] == [
        ("accept.pcb", "clean"),
        ("reject.pcb", "missing"),
        ("reject.pcb", "missing"),
    ]
    assert found[1][1].published_ns > found[1][1].deadline_ns
    assert "nobody saw it" in found[1][1].detail


def test_a_clean_part_is_accepted(desk: Desk) -> None:
    """Only a pass goes out under `accept`."""
    desk.publisher.take(desk.predict(desk.enter(), 0.1))
    ((topic, verdict),) = desk.publish(12_000)
    assert (topic, verdict.verdict, verdict.reason) == ("accept.pcb", "pass", "clean")


def test_a_part_without_an_answer_is_unknown_before_its_deadline(desk: Desk) -> None:
    """Silence turns into `unknown` and a reject, guard_ms before the deadline and not sooner."""
    desk.enter()
    assert desk.publish(50_000 - GUARD_NS - 1) == []
    assert desk.publisher.wait_ns(50_000 - GUARD_NS - 3) == 3
    ((topic, verdict),) = desk.publish(50_000 - GUARD_NS)
    assert (topic, verdict.verdict, verdict.reason) == ("reject.pcb", "unknown", "late")
    assert verdict.published_ns < verdict.deadline_ns
    assert verdict.score is None


def test_an_answer_after_the_verdict_changes_nothing(desk: Desk) -> None:
    """A late prediction gives the part no second verdict."""
    late = desk.predict(desk.enter(), 0.1)
    assert len(desk.publish(60_000)) == 1
    desk.publisher.take(late)
    assert desk.publish(70_000) == []


@pytest.mark.parametrize(
    ("heat", "told"), [(0.1, "clean, score 0.1"), (0.9, "defect, score 0.9"), (DARK, f"dark, {DARK.detail}")]
)
def test_what_is_said_after_the_deadline_is_late(desk: Desk, heat: float | Refused, told: str) -> None:
    """From the deadline on, at the moment of sending, nothing passes; what was judged stands in the detail."""
    for now_ns in (49_999, 50_000, 9_000_000):
        desk.publisher.take(desk.predict(desk.enter(), heat))
        ((topic, verdict),) = desk.publish(now_ns)
        if now_ns < 50_000:
            assert verdict.reason == told.partition(",")[0]
            continue
        assert (topic, verdict.verdict, verdict.reason) == ("reject.pcb", "unknown", "late")
        assert verdict.detail.endswith(told)
        assert (verdict.score, verdict.regions) == (None, [])


def test_a_deadline_that_comes_while_the_verdict_is_made_counts(desk: Desk) -> None:
    """The time is read once more when all that is left is to send it."""
    desk.publisher.take(desk.predict(desk.enter(), 0.1))
    times = iter((49_000, 51_000, 52_000))
    record = desk.publisher.next(lambda: next(times))
    assert record is not None
    assert verdict_from(record.body).reason == "late"
    assert desk.ledger.recorded(0) == record


@pytest.mark.parametrize("heat", [0.1, 0.9, Refused(reason="dark", detail="no light"), None])
def test_a_part_of_a_held_line_is_unknown_whatever_was_said(desk: Desk, heat: float | Refused | None) -> None:
    """Good, bad, refused or without an answer: it is rejected. What the judges said stays in the verdict."""
    entry = desk.enter()
    if heat is not None:
        desk.publisher.take(desk.predict(entry, heat))
    desk.hold = "a challenge test is overdue"
    record = desk.publisher.next(lambda: 49_999)
    assert record is not None
    verdict = verdict_from(record.body)
    assert record.topic.startswith(b"reject.")
    assert (verdict.verdict, verdict.reason, verdict.regions) == ("unknown", "hold", [])
    assert "a challenge test is overdue" in verdict.detail
    if isinstance(heat, float):
        assert [judged.verdict for judged in verdict.judges] == ["reject" if heat > 0.5 else "pass"]


def test_a_part_is_held_that_comes_after_its_deadline_too(desk: Desk) -> None:
    """The reason stays `hold`, as for every part of a line that is held."""
    desk.publisher.take(desk.predict(desk.enter(), 0.1))
    desk.hold = "cleaning"
    record = desk.publisher.next(lambda: 70_000)
    assert record is not None
    assert verdict_from(record.body).reason == "hold"


def test_a_part_is_judged_again_once_the_line_is_released(desk: Desk) -> None:
    """From the next verdict on."""
    reasons = []
    for hold in ("", "cleaning", ""):
        desk.hold = hold
        desk.publisher.take(desk.predict(desk.enter(), 0.1))
        record = desk.publisher.next(lambda: 20_000)
        assert record is not None
        desk.publisher.sent(record)
        reasons.append(record.reason)
    assert reasons == ["clean", "hold", "clean"]


def test_a_defect_found_too_late_is_never_let_through(tmp_path: Path) -> None:
    """Where the recipe lets late parts through, it means those of which nothing is known."""
    desk = Desk(tmp_path, accepted="late")
    desk.publisher.take(desk.predict(desk.enter(), 0.9))
    desk.publisher.take(desk.predict(desk.enter(), 0.1))
    desk.enter()
    assert [topic for topic, _ in desk.publish(60_000)] == ["reject.pcb", "accept.pcb", "accept.pcb"]


def test_what_was_given_out_of_late_is_sent_again_whoever_gave_it_out(desk: Desk) -> None:
    """Publishers that die soon one after the other lose nothing between them; what was heard is left out."""
    second, records = 1_000_000_000, []
    for number in range(12):
        now_ns = number * second
        desk.publisher.take(desk.predict(desk.enter(now_ns), 0.1))
        record = desk.publisher.next(lambda now_ns=now_ns: now_ns + 20_000)
        assert record is not None
        records.append(marked(record))
        desk.publisher.sent(record)
        if number < 8:
            desk.publisher.settle(now_ns)
        else:
            desk.publisher = desk.publisher_anew()  # it dies before subscribers are back
            assert desk.publisher.is_successor
    assert desk.publisher.again() == records[2:]


def test_a_publisher_that_is_alone_waits_as_long_as_there_is_time(desk: Desk) -> None:
    """A verdict that nobody hears would be heard too late, and is not lost for having waited."""
    desk.publisher.take(desk.predict(desk.enter(), 0.1))
    assert desk.publisher.next(lambda: 50_000 - GUARD_NS - 1, unheard=True) is None
    assert desk.publisher.wait_ns(50_000 - GUARD_NS - 1) == 1
    record = desk.publisher.next(lambda: 50_000 - GUARD_NS, unheard=True)
    assert record is not None
    assert verdict_from(record.body).verdict == "pass"


def test_verdicts_come_in_the_order_of_the_parts(desk: Desk) -> None:
    """A part that is judged first waits for the ones before it, at most until their deadline."""
    first, second = desk.enter(), desk.enter()
    desk.publisher.take(desk.predict(second, 0.1))
    assert desk.publish(20_000) == []
    desk.publisher.take(desk.predict(first, 0.1))
    assert [verdict.sequence for _, verdict in desk.publish(20_000)] == [1, 2]


def test_what_a_stage_could_not_judge_says_why(desk: Desk) -> None:
    """The reason and the words of the stage reach the verdict."""
    part = desk.ledger.part(desk.enter())
    desk.publisher.take(Unknown(part=part, reason="registration", detail="moved 40 px", done_ns={}))
    ((topic, verdict),) = desk.publish(1_000)
    assert (topic, verdict.reason, verdict.detail) == ("reject.pcb", "registration", "moved 40 px")


def test_the_recipe_may_let_an_unknown_through_for_a_reason(desk: Desk) -> None:
    """`rule.unknown` changes the action, not the verdict, and for that reason alone."""
    part = desk.ledger.part(desk.enter())
    desk.publisher.take(Unknown(part=part, reason="dark", detail="", done_ns={}))
    ((topic, verdict),) = desk.publish(1_000)
    assert (topic, verdict.verdict) == ("accept.pcb", "unknown")


def test_outputs_of_a_slot_leased_anew_are_not_judged(desk: Desk) -> None:
    """A prediction whose slot belongs to a later part is `unknown`, reason `overwritten`."""
    entry = desk.enter()
    prediction = desk.predict(entry, 0.1)
    for later in range(1, 9):
        desk.ring.lease(later, published=later)
    desk.publisher.take(prediction)
    ((_, verdict),) = desk.publish(1_000)
    assert (verdict.verdict, verdict.reason) == ("unknown", "overwritten")


def test_a_publisher_killed_before_it_sent_gives_the_same_verdict_again(desk: Desk) -> None:
    """What was recorded is what goes out, marked as sent again, whatever the next publisher hears."""
    desk.publisher.take(desk.predict(desk.enter(), 0.9))
    recorded = desk.publisher.next(lambda: 12_000)
    heir = desk.publisher_anew()
    heir.take(Unknown(part=desk.ledger.part(0), reason="engine", detail="", done_ns={}))
    for now_ns in (30_000, 90_000):  # the subscriber may have heard it before the deadline
        assert heir.next(lambda now_ns=now_ns: now_ns) == marked(recorded)


def test_a_publisher_killed_with_answers_in_hand_loses_no_part(desk: Desk) -> None:
    """Answers that died with it are answered by the deadline."""
    desk.publisher.take(desk.predict(desk.enter(), 0.1))
    desk.publisher = desk.publisher_anew()
    assert desk.publish(20_000) == []
    assert [verdict.reason for _, verdict in desk.publish(49_990)] == ["late"]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_part_gets_exactly_one_verdict(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whatever order, loss, repetition and death there is: sequence without gaps, none twice, none late."""
    desk = Desk(tmp_path_factory.mktemp("desk"))
    now_ns, published = 0, []
    answers: list[Prediction] = []
    for _ in range(data.draw(st.integers(5, 60))):
        match data.draw(st.sampled_from(["part", "part", "answer", "repeat", "death", "time", "time"])):
            case "part":
                entry = desk.enter(now_ns)
                if desk.ledger.part(entry).slot >= 0:
                    answers.append(desk.predict(entry, data.draw(st.sampled_from([0.1, 0.9, float("nan")]))))
            case "answer" | "repeat" as what if answers:
                answer = data.draw(st.sampled_from(answers))
                desk.publisher.take(answer)
                if what == "answer":
                    answers.remove(answer)
            case "death":
                desk.publisher = desk.publisher_anew()
            case "time":
                now_ns += min(data.draw(st.integers(0, 30_000)), desk.publisher.wait_ns(now_ns))
        published += desk.publish(now_ns)
    while desk.ledger.published < desk.ledger.captured:
        now_ns += desk.publisher.wait_ns(now_ns)
        published += desk.publish(now_ns)
    assert [verdict.sequence for _, verdict in published] == list(range(1, desk.ledger.captured + 1))
    assert all(verdict.published_ns < verdict.deadline_ns for _, verdict in published)
    assert all((topic == "accept.pcb") == (verdict.verdict == "pass") for topic, verdict in published)


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


def test_the_first_answer_about_a_part_counts(desk: Desk) -> None:
    """A stage that says two things about a part, or says one again, changes nothing."""
    entry = desk.enter()
    desk.enter()
    desk.publisher.take(desk.predict(entry, 0.1))
    desk.publisher.take(desk.predict(entry, 0.9))
    desk.publisher.take(Unknown(part=desk.ledger.part(entry), reason="engine", detail="", done_ns={}))
    assert [verdict.verdict for _, verdict in desk.publish(12_000)] == ["pass"]


def test_the_heartbeat_tells_blindness_from_idleness(desk: Desk) -> None:
    """Idle before parts come, judging with them, blind when all of them are unknown for seconds."""
    second = 1_000_000_000
    assert desk.publisher.heartbeat(0).state == "idle"
    desk.publisher.take(desk.predict(desk.enter(), 0.1))
    desk.publish(1_000)
    beat = desk.publisher.heartbeat(second)
    assert (beat.state, beat.part_id, beat.judged_ns, beat.parts) == ("judging", "1-1", 1_000, 1)
    assert (beat.epoch, beat.sequence) == (1, 1)
    assert desk.publisher.heartbeat(4 * second).state == "idle"
    for entry in (1, 2, 3):
        desk.enter(entry * second)
        desk.publish(entry * second + 60_000)
    assert desk.publisher.heartbeat(3 * second).state == "blind"
    blind = desk.publisher.heartbeat(60 * second)
    assert (blind.state, blind.part_id, blind.sequence) == ("blind", "1-1", 4)
    assert blind.reason == "3 parts, none judged: late"
    desk.enter(4 * second)
    desk.publisher.take(desk.predict(4, 0.1))
    desk.publish(4 * second)
    assert desk.publisher.heartbeat(4 * second).state == "judging"


def test_a_verdict_is_what_its_schema_says(desk: Desk) -> None:
    """The published JSON Schema accepts a real verdict and refuses one without its part."""
    schema = msgspec.json.schema(Verdict)
    desk.publisher.take(desk.predict(desk.enter(), 0.9))
    ((_, verdict),) = desk.publish(12_000)
    body = msgspec.to_builtins(verdict)
    jsonschema.validate(body, schema)
    del body["part_id"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(body, schema)


MOVED = Refused(reason="registration", detail="moved 40 px")


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


NEAR, FAR, ALONE = (Input(to_frame=INPUT.to_frame, registration_px=px) for px in (0.5, 0.8, None))


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
