"""Who subscribes late hears of each alarm that is active, in its last state, and of no other."""

from __future__ import annotations

from edge.messages import Notice
from edge.stages.notices import Notices


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
