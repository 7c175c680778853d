"""When a subscriber is told that its line is silent."""

from __future__ import annotations

from edge.subscription.silence import Silence


def test_silence_is_told_once_a_period() -> None:
    """When it begins, and again while it lasts, each time with its whole length."""
    silence, told = Silence(limit_ns=100), list[int | None]()
    for _ in range(10):
        silence.waited(30)
        told.append(silence.due())
    assert told == [None, None, None, 120, None, None, None, 240, None, None]


def test_a_heartbeat_ends_it() -> None:
    """The next silence is told after a whole period again."""
    silence = Silence(limit_ns=100)
    silence.waited(150)
    assert silence.due() == 150
    silence.heartbeat()
    silence.waited(99)
    assert silence.due() is None
    silence.waited(1)
    assert silence.due() == 100
