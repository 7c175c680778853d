"""Defines what a subscriber and the replay socket of a line say to each other.

A question is one JSON document. An answer is a JSON document, the head, and after it, for each verdict, the
topic and the body as they were published. Nothing is sent without a question, so a subscriber that reads slowly
is sent no more than it asks for.
"""

from __future__ import annotations

from typing import TypeVar, Union

import msgspec
from msgspec import Struct

from ..errors import WireError

#: Longest question, in bytes.
QUESTION_BYTES = 1024


class Replay(Struct, frozen=True, kw_only=True, tag="replay", tag_field="ask", forbid_unknown_fields=True):
    """Asks for the verdicts `first` to `last` of a run. If `last` is None, for all to the end of the run."""

    run: str
    first: int
    last: int | None = None


class Confirm(Struct, frozen=True, kw_only=True, tag="confirm", tag_field="ask", forbid_unknown_fields=True):
    """Says that the subscriber `name` has handled all verdicts of a run up to `number`. It is not answered."""

    name: str
    run: str
    number: int


class Which(Struct, frozen=True, kw_only=True, tag="confirmed", tag_field="ask", forbid_unknown_fields=True):
    """Asks which verdict the subscriber `name` confirmed last."""

    name: str


Question = Union[Replay, Confirm, Which]  # noqa: UP007  (msgspec reads it on Python 3.10 too)


class Replayed(Struct, frozen=True, kw_only=True, tag="replay", tag_field="answer"):
    """The head of an answer to Replay: what follows is all that is left of the run up to the number `upto`.

    The subscriber asks again for what comes after `upto`. If `upto` is below the first number that was asked
    for, the line has not published it yet.
    """

    run: str
    upto: int
    known: bool = True  # False: nobody knows what the run has from the first number on
    ended: bool = False  # the verdict `upto` is the last one of the run
    then: str = ""  # the run that followed, if it is known and no verdict of the run is left to ask for


class ConfirmedLast(Struct, frozen=True, kw_only=True, tag="confirmed", tag_field="answer"):
    """The answer to Which: the verdict that was confirmed last. An empty `run` says that there is none."""

    run: str = ""
    number: int = 0
    known: bool = True  # False: the line expects no confirmation under this name from this subscriber


Answer = Union[Replayed, ConfirmedLast]  # noqa: UP007

_questions: msgspec.json.Decoder[Question] = msgspec.json.Decoder(Question)
_answers: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)
_encoder = msgspec.json.Encoder()
Read = TypeVar("Read")


def encoded(said: Question | Answer) -> bytes:
    """Return the JSON document of a question or of the head of an answer."""
    return _encoder.encode(said)


def question_from(data: bytes) -> Question:
    """Return the question in a JSON document. Raise WireError if it is none."""
    if len(data) > QUESTION_BYTES:
        raise WireError(f"a question of {len(data)} bytes, expected at most {QUESTION_BYTES}")
    return _read(_questions, data)


def answer_from(data: bytes) -> Answer:
    """Return the head of an answer. Raise WireError if it is none."""
    return _read(_answers, data)


def _read(decoder: msgspec.json.Decoder[Read], data: bytes) -> Read:
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise WireError(f"not part of a replay: {error}") from error
