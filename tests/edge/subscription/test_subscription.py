"""Hearing a line without missing a verdict, over real sockets."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from lines import until
from parts import VERDICT
from published import A, B, C, Line, published

from edge import Missed, Place, Silent, subscribe
from edge.errors import LineError
from edge.messages import Heartbeat, Verdict
from edge.stages.sockets import PUBLISH_HWM
from edge.subscription import Subscription
from edge.subscription.subscription import Event
from edge.wire import body_of

PATIENCE_MS = 30_000


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    with published(tmp_path) as found:
        yield found


def subscription(line: Line, *topics: str, **more: object) -> Subscription:
    """A subscription with much patience, to which the line has listened."""
    more = {"replay": line.replay, "silence_ms": PATIENCE_MS, "patience_ms": PATIENCE_MS} | more
    found = Subscription(line.endpoint, topics, **more)  # type: ignore[arg-type]
    line.await_subscriber()
    return found


def told(event: Event | None) -> str:
    """What a subscriber was told, in short."""
    if event is None or isinstance(event, Missed | Silent):
        return f"missed {event.first}-{event.last}" if isinstance(event, Missed) else str(event)
    message = event.message
    if isinstance(message, Verdict):
        return f"{message.run[0]}{message.number}" + (" again" if message.resent else "")
    assert isinstance(message, Heartbeat)
    return f"beat {message.run[0]}{message.number}"


def hears(subscription: Subscription, count: int) -> list[str]:
    return [told(subscription.hear(PATIENCE_MS)) for _ in range(count)]


def message(subscription: Subscription) -> Event | None:
    """The next event but silence, which a slow machine may be taken for."""
    while isinstance(event := subscription.hear(PATIENCE_MS), Silent):
        pass
    return event


def test_what_was_lost_on_the_way_comes_in_its_place(line: Line) -> None:
    """Once, in order, and marked as sent before, so that nobody moves a part for it."""
    with subscription(line) as heard, line.answering():
        for sent in (True, False, False, True, True):
            line.verdict(sent=sent)
        assert hears(heard, 5) == ["a1", "a2 again", "a3 again", "a4", "a5"]


def test_a_heartbeat_shows_what_was_lost_last(line: Line) -> None:
    """Though no later verdict comes."""
    with subscription(line) as heard, line.answering():
        line.verdict()
        line.verdict(sent=False)
        line.heartbeat()
        assert hears(heard, 3) == ["a1", "a2 again", "beat a2"]


def test_verdicts_of_other_topics_are_no_gap(line: Line) -> None:
    """Who wants the rejected parts alone still gets each of them, and nothing else is asked for or told."""
    with subscription(line, "reject.") as heard, line.answering():
        for topic, sent in [("reject", True), ("accept", True), ("accept", False), ("reject", False)]:
            line.verdict(topic, sent=sent)
        line.verdict("reject")
        assert hears(heard, 3) == ["a1", "a4 again", "a5"]


def test_a_gap_longer_than_an_answer_is_filled(line: Line) -> None:
    """In many answers, and with verdicts that come meanwhile."""
    with subscription(line) as heard, line.answering():
        line.verdict()
        for _ in range(200):
            line.verdict(sent=False)
        line.verdict()
        assert hears(heard, 202) == ["a1", *(f"a{number} again" for number in range(2, 202)), "a202"]


def test_who_sleeps_gets_all_afterwards(line: Line) -> None:
    """What the queue for it in the line could not hold is asked for, also when nothing more is published."""
    count, events = PUBLISH_HWM + 3000, list[str]()
    with subscription(line) as heard, line.answering():
        for _ in range(count):
            line.verdict()
        while not events or not events[-1].startswith(f"a{count}"):
            if (event := heard.hear(100)) is not None:
                events.append(told(event))
            else:
                line.heartbeat()
    numbers = [event.removesuffix(" again") for event in events if not event.startswith("beat")]
    assert numbers == [f"a{number}" for number in range(1, count + 1)]
    assert events[-1] == f"a{count} again"


def test_what_the_line_forgot_is_told(line: Line) -> None:
    """With the numbers, in their place; what it still has comes."""
    line.kept = type(line.kept)(most=2)
    line._begin()
    with subscription(line) as heard, line.answering():
        line.verdict()
        for _ in range(4):
            line.verdict(sent=False)
        line.heartbeat()
        assert hears(heard, 4) == ["a1", "missed 2-3", "a4 again", "a5 again"]


@pytest.mark.parametrize("replay", [True, False], ids=["nobody answers", "no replay endpoint"])
def test_when_nobody_answers_it_goes_on(line: Line, replay: bool) -> None:
    """Later verdicts wait for `patience_ms` and no longer."""
    with subscription(line, patience_ms=50, replay=line.replay if replay else "") as heard:
        line.verdict()
        line.verdict(sent=False)
        line.verdict()
        line.verdict()
        assert hears(heard, 4) == ["a1", "missed 2-2", "a3", "a4"]


def test_the_rest_of_a_run_that_ended_comes_first(line: Line) -> None:
    """Of a line that was restarted: also of a run of which this subscriber heard nothing."""
    with subscription(line) as heard, line.answering():
        line.verdict()
        assert hears(heard, 1) == ["a1"]
        line.verdict(sent=False)
        line.end(B)
        line.verdict(sent=False)
        line.end(C)
        line.verdict()
        line.heartbeat()
        assert hears(heard, 4) == ["a2 again", "b1 again", "c1", "beat c1"]


def test_of_a_run_that_nobody_knows_it_says_so(line: Line) -> None:
    """It cannot be said how many verdicts are lost."""
    with subscription(line) as heard, line.answering():
        line.verdict()
        assert hears(heard, 1) == ["a1"]
        line.forget(B)
        line.heartbeat()
        assert hears(heard, 2) == ["missed 2-None", "beat b0"]


def test_silence_is_told_while_it_lasts(line: Line) -> None:
    """Verdicts do not end it: only a heartbeat says that the line lives."""
    with subscription(line, silence_ms=300) as heard:
        line.heartbeat()
        line.verdict()
        assert [told(message(heard)) for _ in range(2)] == ["beat a0", "a1"]
        first, second = (heard.hear(PATIENCE_MS) for _ in range(2))
        assert isinstance(first, Silent)
        assert isinstance(second, Silent)
        assert 300 <= first.silent_ms < second.silent_ms

        def is_heard() -> bool:
            line.heartbeat()
            event = heard.hear(20)
            return event is not None and told(event) == "beat a1"

        until(is_heard, "a heartbeat is heard again")


def test_a_line_that_is_not_there_is_silent(tmp_path: Path) -> None:
    """From the start on."""
    heard = subscribe(f"ipc://{tmp_path}/none.ipc", silence_ms=50)
    assert isinstance(next(heard), Silent)


def test_who_listens_too_late_hears_no_silence(line: Line) -> None:
    """If the subscriber was busy, heartbeats came meanwhile."""
    with subscription(line, silence_ms=100) as heard:
        line.heartbeat()
        assert told(message(heard)) == "beat a0"
        line.heartbeat()
        time.sleep(0.3)
        assert hears(heard, 1) == ["beat a0"]


def test_what_was_handled_is_confirmed(line: Line) -> None:
    """Once the next message is asked for. Who comes again under the same name goes on there."""
    with line.answering():
        with subscription(line, confirm="plc-1") as heard:
            for _ in range(3):
                line.verdict()
            assert hears(heard, 2) == ["a1", "a2"]
            assert line.confirmed["plc-1"].number < 2
            assert heard.hear(PATIENCE_MS) is not None
            until(lambda: line.confirmed["plc-1"].number == 2, "it is confirmed")
        line.verdict()
        with subscription(line, confirm="plc-1") as heard:
            line.heartbeat()
            assert hears(heard, 3) == ["a3 again", "a4 again", "beat a4"]
    assert line.confirmed["plc-2"].number == 0


def test_a_subscriber_of_few_topics_confirms_all(line: Line) -> None:
    """What it need not handle is confirmed with what it handled."""
    with line.answering(), subscription(line, "reject.", confirm="plc-1") as heard:
        line.verdict("reject")
        line.verdict("accept")
        assert hears(heard, 1) == ["a1"]
        line.verdict("accept")
        until(lambda: heard.hear(5) is None and line.confirmed["plc-1"].number == 3, "it is confirmed")


def test_a_name_that_does_not_confirm_is_said(line: Line) -> None:
    """Else the alarm about the right one would never end."""
    with (
        line.answering(),
        subscription(line, confirm="plc-3") as heard,
        pytest.raises(LineError, match="'plc-3' does not confirm to this line"),
    ):
        heard.hear(PATIENCE_MS)


def test_it_goes_on_after_a_place_that_was_noted(line: Line) -> None:
    """By a subscriber that keeps its own record, and from a number of the run that goes on."""
    with line.answering():
        for _ in range(3):
            line.verdict()
        with subscription(line, after=Place(run=A, number=1)) as heard:
            line.heartbeat()
            assert hears(heard, 3) == ["a2 again", "a3 again", "beat a3"]
            assert heard.place == Place(run=A, number=3)
        with subscription(line, after=Place()) as heard:
            line.heartbeat()
            assert hears(heard, 1) == ["a1 again"]


def test_two_lines_on_one_endpoint_are_said(line: Line) -> None:
    """Their numbers would look like gaps."""
    with subscription(line) as heard:
        line.heartbeat()
        heard.hear(PATIENCE_MS)
        line._socket.send_multipart((b"accept.other", body_of(msgspec.structs.replace(VERDICT, line="other"))))
        with pytest.raises(LineError, match="both 'board-a' and 'other' publish there"):
            heard.hear(PATIENCE_MS)


def test_what_is_no_answer_is_said(line: Line) -> None:
    """The replay endpoint of the recipe, and no other."""
    with subscription(line, replay=line.replay) as heard:
        line.verdict()
        line.verdict(sent=False)
        line.verdict()
        assert hears(heard, 1) == ["a1"]
        while not line._replier.poll(0):
            heard.hear(50)
        sender, *_ = line._replier.recv_multipart()
        line._replier.send_multipart((sender, b"hello"))
        with pytest.raises(LineError, match="no answer of this version"):
            heard.hear(PATIENCE_MS)


def test_it_needs_neither_numpy_nor_opencv() -> None:
    """A bridge to a PLC installs pyzmq and msgspec, on a computer that does nothing else."""
    code = (
        "import sys\n"
        "for name in ('numpy', 'cv2', 'rich', 'typer', 'av', 'openvino'): sys.modules[name] = None\n"
        "from edge import Missed, Place, Silent, Verdict, subscribe\n"
        "subscribe('ipc:///nowhere')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
