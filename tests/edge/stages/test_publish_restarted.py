"""A publisher that is killed at any moment has a successor that loses no part and changes no verdict."""

from __future__ import annotations

import dataclasses

import pytest
from desk import GUARD_NS, Desk
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.memory.ledger import Record
from edge.messages import Prediction, Unknown
from edge.wire import verdict_from


def marked(record: Record | None) -> Record:
    assert record is not None
    assert record.body.count(b'"resent":false') == 1
    return dataclasses.replace(record, body=record.body.replace(b'"resent":false', b'"resent":true'))


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
