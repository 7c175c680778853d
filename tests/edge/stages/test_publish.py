"""The publisher's promise, with the time as an argument: one verdict a part, in order, before its deadline."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import msgspec
import pytest
from desk import DARK, GUARD_NS, IDENTITY, Desk
from parts import part_of

from edge.messages import UNSEEN_SLOT, Refused, Unknown, Verdict
from edge.wire import verdict_from


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


def test_a_part_that_was_lost_with_its_process_is_told_once_a_later_one_was_answered(desk: Desk) -> None:
    """Not before all answers were read, since its own may be among them."""
    entries = [desk.enter(at_ns=at_ns) for at_ns in (1_000, 2_000, 3_000)]
    for entry, pid in zip(entries, (100, 200, 200), strict=True):
        desk.ledger.take(entry, pid)
    desk.failed_ns = 5_000
    desk.publisher.take(desk.predict(2, 0.1))
    assert desk.publish(6_000) == []
    desk.publisher.give_up()
    ((topic, verdict),) = desk.publish(6_000)
    assert (topic, verdict.verdict, verdict.reason) == ("reject.pcb", "unknown", "lost")
    desk.publisher.take(desk.predict(1, 0.1))
    assert [verdict.reason for _, verdict in desk.publish(7_000)] == ["clean", "clean"]


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


def test_a_defect_found_too_late_is_never_let_through(tmp_path: Path) -> None:
    """Where the recipe lets late parts through, it means those of which nothing is known."""
    desk = Desk(tmp_path, accepted="late")
    desk.publisher.take(desk.predict(desk.enter(), 0.9))
    desk.publisher.take(desk.predict(desk.enter(), 0.1))
    desk.enter()
    assert [topic for topic, _ in desk.publish(60_000)] == ["reject.pcb", "accept.pcb", "accept.pcb"]


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
