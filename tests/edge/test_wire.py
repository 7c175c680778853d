"""Messages as bytes: golden bytes, and nothing but messages is taken for one."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from parts import ALARM, part_of

from edge import wire
from edge.errors import WireError
from edge.messages import Frame, Health, Input, Prediction, Refused, Tensor, Unknown

RUN = b"this-run"
INPUTS = (
    Input(to_frame=(1.0, 0.0, 0.5, 0.0, 1.0, -0.5), registration_px=0.25),
    Refused(reason="registration", detail="moved 40 px"),
)
HEALTH = Health(level=90.5, saturated=0.01, focus=0.2, repeats=1, shift_px=(1.5, -2.0), rotation_deg=0.1)
MESSAGES = [
    Frame(part=part_of(3), shape=(5, 7), done_ns={"capture": 1}),
    Tensor(part=part_of(3), inputs=INPUTS, health=HEALTH, done_ns={}),
    Prediction(part=part_of(3), inputs=INPUTS, health=HEALTH, engine_ns=5, done_ns={"capture": 1, "infer": 2}),
    Unknown(part=part_of(3), reason="dark", detail="no light", done_ns={}),
]
GOLDEN = bytes.fromhex(
    "05746869732d72756e86a474797065a7556e6b6e6f776ea4706172748ea5656e74727903a565706f636801a8736571"
    "75656e636504a663616d657261a663616d657261a476696577a161aa736f757263655f726566a0a7736b6970706564"
    "00ab63617074757265645f6e7300ae63617074757265645f61745f6e73cf17979cfe362a0000ab646561646c696e65"
    "5f6e7300a8706f736974696f6e00a5636f756e74ffa4736c6f7400aa67656e65726174696f6e01a6726561736f6ea4"
    "6461726ba664657461696ca86e6f206c69676874a66865616c7468c0a7646f6e655f6e7380"
)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_a_message_comes_back_as_it_was(message: Frame | Tensor | Prediction | Unknown) -> None:
    """What one stage sends, the next one receives."""
    assert wire.unpack(wire.pack(message, RUN), RUN) == message
    assert len(wire.pack(message, RUN)) < 1000


def test_the_format_is_what_it_was() -> None:
    """Bytes of this version do not change unnoticed."""
    assert wire.pack(MESSAGES[-1], RUN) == GOLDEN
    assert wire.unpack(GOLDEN, RUN) == MESSAGES[-1]


def test_another_version_is_refused() -> None:
    """A message of another version of Linejudge is not read as one of this."""
    data = wire.pack(MESSAGES[0], RUN)
    with pytest.raises(WireError, match="version 06, expected 05"):
        wire.unpack(b"\x06" + data[1:], RUN)


def test_another_run_is_refused() -> None:
    """A message that a process of an earlier run still sends is not about a part of this one."""
    data = wire.pack(MESSAGES[0], RUN)
    with pytest.raises(WireError, match="another run"):
        wire.unpack(data, b"next-run")


@given(st.binary(max_size=200))
def test_noise_is_no_message(data: bytes) -> None:
    """Whatever bytes come, the answer is an error and never a part."""
    with pytest.raises(WireError):
        wire.unpack(bytes((wire.VERSION,)) + RUN + data, RUN)


@pytest.mark.parametrize("cut", range(1, 120, 7))
def test_half_a_message_is_no_message(cut: int) -> None:
    """A message that was cut off is refused."""
    with pytest.raises(WireError):
        wire.unpack(wire.pack(MESSAGES[0], RUN)[:-cut], RUN)


def test_a_verdict_that_lacks_a_field_is_refused() -> None:
    """A subscriber of ours does not guess what a verdict leaves out."""
    with pytest.raises(WireError, match="part_id"):
        wire.verdict_from(msgspec.json.encode({"line": "x"}))


def test_topics_are_the_action() -> None:
    """A subscriber can take `reject.` alone and know all that has to be blown off."""
    assert wire.action_topic("pcb", accept=False) == b"reject.pcb"
    assert wire.action_topic("pcb", accept=True) == b"accept.pcb"
    assert wire.heartbeat_topic("pcb") == b"heartbeat.pcb"
    assert wire.alarm_topic("pcb") == b"alarm.pcb"


def test_an_alarm_comes_back_as_it_was() -> None:
    """A subscriber of ours reads the alarm that the line sent; a state that there is not is refused."""
    assert wire.alarm_from(wire.body_of(ALARM)) == ALARM
    with pytest.raises(WireError, match="state"):
        wire.alarm_from(wire.body_of(ALARM).replace(b'"raised"', b'"over"'))
