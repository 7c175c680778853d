"""What a killed run did not publish is sent once as new; to each subscriber that comes later, it is resent."""

from __future__ import annotations

from pathlib import Path

import pytest
from parts import part_of

from edge.belt.course import Ended
from edge.belt.join import Join
from edge.belt.layout import Layout
from edge.judges.rules import Rules
from edge.memory.ledger import Ledger, Record
from edge.messages import Verdict
from edge.stages.leftovers import Leftovers
from edge.stages.publisher import REJOIN_NS, Publisher
from edge.stages.state import State
from edge.stages.verdict import Identity
from edge.wire import verdict_from

IDENTITY = Identity(line="pcb", run="0" * 16, recipe="r" * 64, bundle="b" * 64, accepted=frozenset())
NOW_NS = 2 * REJOIN_NS


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """The ledger of a run that was killed: three parts, of which the first has its verdict."""
    made = Ledger.create(tmp_path / "ledger")
    for entry in range(3):
        made.enter(part_of(entry))
    before = publisher(made)
    record = before.next(lambda: NOW_NS)
    assert record
    before.sent(record)
    return made


def publisher(ledger: Ledger) -> Publisher:
    join = Join({"camera": ledger}, Layout(), Ended())
    rules = {"camera": Rules(judges=(), outputs=())}
    return Publisher({}, {"camera": ledger}, rules, IDENTITY, 10, State({}, {}), join, ended=True)


def verdicts(records: list[Record]) -> list[Verdict]:
    return [verdict_from(record.body) for record in records]


def test_only_the_first_time_a_verdict_is_new(ledger: Ledger) -> None:
    """Each part has its verdict, `late`; who hears one twice can tell by `resent`, and nothing else differs."""
    left = Leftovers([publisher(ledger)], NOW_NS)
    first, second, third = (left.take() for _ in range(3))
    assert [(one.sequence, one.reason) for one in verdicts(first)] == [(1, "late"), (2, "late"), (3, "late")]
    assert [one.resent for one in verdicts(first)] == [True, False, False]
    assert [record.body for record in second] == [record.body for record in third]
    assert second == [first[0], *(record.resent() for record in first[1:])]


def test_what_was_heard_is_not_sent_again(ledger: Ledger) -> None:
    """Once the time in which subscribers come back is over."""
    left = Leftovers([publisher(ledger)], NOW_NS)
    assert left
    left.settle(NOW_NS + 1)
    assert not left
    assert left.take() == []
    assert not Leftovers([publisher(ledger)], NOW_NS)
