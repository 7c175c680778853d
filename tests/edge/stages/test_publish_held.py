"""While a line is held, each part is unknown, whatever its judges say; afterwards it is judged again."""

from __future__ import annotations

import pytest
from desk import Desk

from edge.messages import Refused
from edge.wire import verdict_from


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
