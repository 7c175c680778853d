"""Messages to bytes and back, under version and run, and the topics of the reject socket; no sockets here."""

from __future__ import annotations

import msgspec

from .errors import WireError
from .messages import Heartbeat, Message, Verdict

VERSION = 2
RUN_BYTES = 8  # a number that each run of a line draws anew

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)
_json = msgspec.json.Encoder()
_verdict = msgspec.json.Decoder(Verdict)
_heartbeat = msgspec.json.Decoder(Heartbeat)


def pack(message: Message, run: bytes) -> bytes:
    """One message between stages as one part: a version byte, the run's RUN_BYTES, then msgpack."""
    return bytes((VERSION,)) + run + _encoder.encode(message)


def unpack(data: bytes, run: bytes) -> Message:
    """The message of `pack` in the same run; WireError for anything else."""
    if data[:1] != bytes((VERSION,)):
        raise WireError(
            f"message of version {data[:1].hex() or 'none'}, expected {VERSION:02x}: restart the line"
        )
    if data[1 : 1 + RUN_BYTES] != run:
        raise WireError("message of another run of the line")
    try:
        return _decoder.decode(data[1 + RUN_BYTES :])
    except msgspec.MsgspecError as error:
        raise WireError(f"not a message between stages: {error}") from error


def verdict_bytes(verdict: Verdict | Heartbeat) -> bytes:
    """The JSON body of a verdict or heartbeat."""
    return _json.encode(verdict)


def verdict_from(body: bytes) -> Verdict:
    """The verdict in a JSON body; WireError if it is none."""
    try:
        return _verdict.decode(body)
    except msgspec.MsgspecError as error:
        raise WireError(f"not a verdict: {error}") from error


def heartbeat_from(body: bytes) -> Heartbeat:
    """The heartbeat in a JSON body; WireError if it is none."""
    try:
        return _heartbeat.decode(body)
    except msgspec.MsgspecError as error:
        raise WireError(f"not a heartbeat: {error}") from error


def action_topic(line: str, *, accept: bool) -> bytes:
    """`accept.<line>` or `reject.<line>`: what is to be done with the part."""
    return f"{'accept' if accept else 'reject'}.{line}".encode()


def heartbeat_topic(line: str) -> bytes:
    return f"heartbeat.{line}".encode()
