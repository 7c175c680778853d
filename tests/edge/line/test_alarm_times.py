"""Each alarm that a line publishes, lists or keeps says when it was raised, at whatever moment it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from parts import HEARTBEAT, VERDICT
from prometheus_client import CollectorRegistry

from edge.line.alarms import LineAlarms
from edge.messages import Alarm, Notice
from edge.monitoring.metrics import Metrics
from edge.recipe import Folder, Recipe

RECIPE = Recipe(line="board-a", bundle="b", source=Folder(files="*.png", width=8, height=8))
REJECTED = msgspec.structs.replace(VERDICT, verdict="reject", reason="defect")

Started = Callable[[], LineAlarms]


@pytest.fixture
def sent() -> list[Notice]:
    return []


@pytest.fixture
def alarms(tmp_path: Path, sent: list[Notice]) -> Started:
    """Makes the alarms of a line whose state folder stays."""
    return lambda: LineAlarms(
        RECIPE, (), tmp_path, Metrics(CollectorRegistry(), "board-a", 4, ("publish",)), sent.append
    )


@pytest.fixture
def raised(alarms: Started) -> Iterator[LineAlarms]:
    """Alarms that have heard of rejected parts in a row, and have not looked at them yet."""
    with alarms() as found:
        for number in range(RECIPE.alarms.consecutive or 0):
            found.hear(msgspec.structs.replace(REJECTED, number=number + 1), accepted=False)
        yield found


def times(sent: list[Notice]) -> dict[str, set[str]]:
    """When each alarm was raised, by all that was sent of it."""
    found: dict[str, set[str]] = {}
    for notice in sent:
        if notice.body:
            alarm = msgspec.json.decode(notice.body, type=Alarm)
            found.setdefault(alarm.alarm, set()).add(alarm.raised_at)
    return found


def test_a_heartbeat_that_does_not_name_it_yet_brings_no_alarm_without_a_time(
    raised: LineAlarms, sent: list[Notice]
) -> None:
    """A heartbeat may come right behind the verdict that raised the alarm."""
    raised.hear(msgspec.structs.replace(HEARTBEAT, line="board-a"), accepted=False)
    raised.tick()
    (at,) = times(sent)["consecutive"]
    assert at


def test_who_lists_alarms_at_once_reads_when_they_were_raised(raised: LineAlarms) -> None:
    """Also before the line has told anybody."""
    listed = {alarm["alarm"]: alarm["raised_at"] for alarm in raised.commands["alarms"]({})["alarms"]}
    assert listed["consecutive"]


def test_a_line_that_ends_at_once_keeps_when_they_were_raised(raised: LineAlarms, alarms: Started) -> None:
    """The next run tells the same time."""
    raised.__exit__()
    with alarms() as again:
        listed = {alarm["alarm"]: alarm["raised_at"] for alarm in again.commands["alarms"]({})["alarms"]}
    assert listed["consecutive"]
