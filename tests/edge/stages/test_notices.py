"""Who subscribes late hears of each alarm that is active, in its last state, and of no other."""

from __future__ import annotations

import pytest

from edge.messages import Alarm, Notice
from edge.stages.notices import Notices, is_notice
from edge.wire import alarm_topic, body_of


def notice(body: bytes, alarm: str, *alarms: str) -> Notice:
    return Notice(topic=b"alarm.pcb", body=body, alarm=alarm, alarms=alarms)


def test_the_last_notice_of_each_active_alarm_is_kept() -> None:
    """Raised, acknowledged and cleared: what a new subscriber hears is the state now."""
    notices = Notices()
    assert notices.take(notice(b"focus raised", "focus", "focus"))
    assert notices.take(notice(b"drift raised", "drift", "focus", "drift"))
    assert notices.take(notice(b"focus acknowledged", "focus", "focus", "drift"))
    assert [one.body for one in notices.again()] == [b"focus acknowledged", b"drift raised"]
    assert notices.take(notice(b"focus cleared", "focus", "drift"))
    assert [one.body for one in notices.again()] == [b"drift raised"]
    assert notices.alarms == ("drift",)


def test_a_notice_may_only_name_the_active_alarms() -> None:
    """Nothing is sent then; and a notice that names none leaves them as they are."""
    notices = Notices()
    assert not notices.take(notice(b"", "", "focus"))
    assert notices.take(Notice(topic=b"alarm.pcb", body=b"{}"))
    assert notices.alarms == ("focus",)
    assert notices.again() == []


def alarm(line: str = "pcb") -> bytes:
    made = Alarm(line=line, alarm="focus", state="raised", cause="camera", text="", raised_at="", changed_at="")
    return body_of(made)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"topic": b"accept.pcb"}, id="looks like a verdict"),
        pytest.param({"topic": b"heartbeat.pcb"}, id="looks like a heartbeat"),
        pytest.param({"topic": alarm_topic("other")}, id="of another line"),
        pytest.param({"body": alarm("other")}, id="about another line"),
        pytest.param({"body": b"{}"}, id="no alarm"),
        pytest.param({"body": b"[" * 100_000}, id="nested deeply"),
        pytest.param({"alarms": ("x",) * 1000}, id="very many alarms"),
        pytest.param({"alarms": ("x" * 100,)}, id="a very long name"),
        pytest.param({"alarm": "x" * 100}, id="about a very long name"),
    ],
)
def test_what_subscribers_could_not_read_is_no_notice(wrong: dict[str, object]) -> None:
    """Nor what they could take for something else. The supervisor hears what publish sends, too."""
    good = {"topic": alarm_topic("pcb"), "body": alarm(), "alarm": "focus", "alarms": ("focus",)}
    assert is_notice(Notice(**good), "pcb")
    assert is_notice(Notice(**{**good, "body": b"", "alarm": ""}), "pcb")
    assert not is_notice(Notice(**{**good, **wrong}), "pcb")
