"""Converts messages to bytes and back, with a version number, and names the topics that a line publishes."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from .errors import WireError
from .messages import Alarm, Broadcast, Heartbeat, Sent, Verdict

VERSION = 5
#: Length of the random number that each run of a line draws for its messages.
RUN_BYTES = 8
#: The version `v` of the JSON that subscribers hear.
PUBLISHED_VERSION = 1

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Sent] = msgspec.msgpack.Decoder(Sent)
_json = msgspec.json.Encoder()
_verdict = msgspec.json.Decoder(Verdict)
_heartbeat = msgspec.json.Decoder(Heartbeat)
_alarm = msgspec.json.Decoder(Alarm)
_FIRST, _RESENT = b'"resent":false}', b'"resent":true}'

Published = TypeVar("Published", Verdict, Heartbeat, Alarm)


class _Versioned(msgspec.Struct):
    v: int = PUBLISHED_VERSION


_version = msgspec.json.Decoder(_Versioned)


def pack(message: Sent, run: bytes) -> bytes:
    """Encode a message between stages: a version byte, the run's number `run`, and the message in msgpack."""
    return bytes((VERSION,)) + run + _encoder.encode(message)


def unpack(data: bytes, run: bytes) -> Sent:
    """Decode a message that `pack` made with the same `run`. Raise WireError for any other bytes."""
    if data[:1] != bytes((VERSION,)):
        raise WireError(
            f"message of version {data[:1].hex() or 'none'}, expected {VERSION:02x}: restart the line"
        )
    if data[1 : 1 + RUN_BYTES] != run:
        raise WireError("message of another run of the line")
    try:
        return _decoder.decode(data[1 + RUN_BYTES :])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise WireError(f"not a message between stages: {error}") from error


def body_of(message: Broadcast) -> bytes:
    """Return the JSON body of a verdict, heartbeat or alarm."""
    return _json.encode(message)


def verdict_from(body: bytes) -> Verdict:
    """Return the verdict in a JSON body. Raise WireError if it is not a verdict of this version."""
    return _read(_verdict, "verdict", body)


def heartbeat_from(body: bytes) -> Heartbeat:
    """Return the heartbeat in a JSON body. Raise WireError if it is not a heartbeat of this version."""
    return _read(_heartbeat, "heartbeat", body)


def alarm_from(body: bytes) -> Alarm:
    """Return the alarm in a JSON body. Raise WireError if it is not an alarm of this version."""
    return _read(_alarm, "alarm", body)


def resent_body(body: bytes) -> bytes:
    """Return a verdict's JSON body with `resent` set to true. `body_of` writes `resent` as the last field."""
    return body.removesuffix(_FIRST) + _RESENT


def action_topic(line: str, *, accept: bool) -> bytes:
    """Return the topic of a verdict: `accept.<line>` if `accept` is true, otherwise `reject.<line>`."""
    return f"{'accept' if accept else 'reject'}.{line}".encode()


def heartbeat_topic(line: str) -> bytes:
    """Return the topic of a line's heartbeats: `heartbeat.<line>`."""
    return f"heartbeat.{line}".encode()


def alarm_topic(line: str) -> bytes:
    """Return the topic of a line's alarms: `alarm.<line>`."""
    return f"alarm.{line}".encode()


def _read(decoder: msgspec.json.Decoder[Published], kind: str, body: bytes) -> Published:
    try:
        version = _version.decode(body).v
        if version == PUBLISHED_VERSION:
            return decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise WireError(f"not a {kind}: {error}") from error
    raise WireError(
        f"a {kind} of version {version}, expected {PUBLISHED_VERSION}: install the Linejudge of the line here"
    )
