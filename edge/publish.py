"""Publish: one verdict for each part in the ledger, in order and before its deadline, whatever comes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Literal

import msgspec
import zmq

from .decide import Judgement, Rule, decide
from .errors import PartError, SlotOverwritten
from .fuse import fuse
from .ledger import RECORD_BYTES, ROWS, Ledger
from .messages import Heartbeat, Judged, Laid, Message, Part, Prediction, Refused, Unknown, Verdict
from .recipe import Fusion
from .ring import Ring, as_outputs
from .stage import TICK_MS, Life, refuse
from .wire import action_topic, heartbeat_topic, unpack, verdict_bytes, verdict_from

IDLE_NS = 2_000_000_000  # without a part for so long, the line is idle
REJOIN_NS = 5_000_000_000  # subscribers that come so soon after a restart were there before it
FORERUNNERS = 16  # verdicts before a restart that may still have been on their way
BLIND_NS, BLIND_PARTS = 2_000_000_000, 3  # unknown without a break, so long and so many: the line is blind


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What every verdict of this line says of the line."""

    line: str
    recipe: str
    bundle: str
    accepted: frozenset[str]  # reasons for which an unknown part is let through


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The judges' rules and the shapes of what they say, in the recipe's order, and how they agree."""

    rules: tuple[Rule, ...]
    outputs: tuple[dict[str, tuple[int, ...]], ...]  # name -> shape, in the order in which they lie
    fusion: Fusion | None = None


class Publisher:
    """Takes what the stages say of parts and gives out verdicts; no sockets, and the time is an argument."""

    def __init__(self, ring: Ring, ledger: Ledger, bench: Bench, identity: Identity, guard_ns: int) -> None:
        self._ring, self._ledger, self._bench = ring, ledger, bench
        self._identity, self._guard_ns = identity, guard_ns
        self._first = ledger.published
        self._answers: dict[int, tuple[Message, _Answer]] = {}
        self._judged: Verdict | None = None
        self._last_ns: int | None = None  # when the last part was captured
        self._unknowns = 0  # since a part was last judged
        self._unknown_since_ns = 0  # captured_ns of the first of them

    def take(self, message: Message) -> None:
        """Note what a stage says of a part; a part that has its verdict already is passed over."""
        part = message.part
        if part.entry < self._ledger.published or part.entry in self._answers:
            return
        if isinstance(message, Unknown):
            self._answers[part.entry] = (message, _Answer(message))
        elif isinstance(message, Prediction):
            self._answers[part.entry] = (message, self._decide(message))
        else:
            raise TypeError(f"publish got a {type(message).__name__}")

    def _decide(self, message: Prediction) -> _Answer:
        said: list[Judgement | Refused] = []
        for number, (input_, rule) in enumerate(zip(message.inputs, self._bench.rules, strict=True)):
            if isinstance(input_, Refused):
                said.append(input_)
                continue
            try:
                with self._ring.area(message.part, "outputs", number) as area:
                    outputs = as_outputs(area, self._bench.outputs[number])
                    said.append(decide(outputs, input_.to_frame, rule))
            except PartError as error:
                said.append(Refused(reason=error.reason, detail=str(error)))
            except SlotOverwritten as error:
                return _Answer(refuse(message, error))
        together, each = fuse(said, self._bench.fusion)
        if isinstance(together, Judgement):
            return _Answer(together, each)
        unknown = Unknown(
            part=message.part, reason=together.reason, detail=together.detail, done_ns=message.done_ns
        )
        return _Answer(unknown, each)

    def wait_ns(self, now_ns: int) -> int:
        """How long nothing is due, if no message comes."""
        if self._ledger.published == self._ledger.captured:
            return TICK_MS * 1_000_000
        due_ns = self._ledger.part(self._ledger.published).deadline_ns - self._guard_ns
        return max(0, min(due_ns - now_ns, TICK_MS * 1_000_000))

    def next(self, now_ns: int) -> bytes | None:
        """The next part's verdict as `topic \\n body`, recorded in the ledger, or None if it can wait.

        The caller sends it and then calls `sent`. A verdict that was recorded before a restart comes
        again as it was.
        """
        entry = self._ledger.published
        if entry == self._ledger.captured:
            return None
        if (recorded := self._ledger.recorded(entry)) is not None:
            return recorded
        if entry in self._answers:
            message, answer = self._answers[entry]
        else:
            part = self._ledger.part(entry)
            if now_ns < part.deadline_ns - self._guard_ns:
                return None
            message = Unknown(part=part, reason="late", detail=self._whereabouts(part), done_ns={})
            answer = _Answer(message)
        self._ledger.record(entry, self._record(message, answer, now_ns))
        return self._ledger.recorded(entry)

    def sent(self, record: bytes) -> None:
        """The verdict is on the wire: the part is done and its slot free."""
        entry = self._ledger.published
        self._answers.pop(entry, None)
        verdict = verdict_from(record.partition(b"\n")[2])
        self._last_ns = verdict.captured_ns
        if verdict.verdict != "unknown":
            self._judged, self._unknowns = verdict, 0
        else:
            self._unknowns += 1
            if self._unknowns == 1:
                self._unknown_since_ns = verdict.captured_ns
        self._ledger.set_published(entry)

    @property
    def is_successor(self) -> bool:
        """Whether another publisher was there before in this run."""
        return self._first > 0

    def again(self) -> list[bytes]:
        """The verdicts that this publisher gave out, and a few that its forerunner may not have got rid of."""
        first = max(0, self._first - FORERUNNERS, self._ledger.published - ROWS + 1)
        recorded = [self._ledger.recorded(entry) for entry in range(first, self._ledger.published)]
        return [record for record in recorded if record is not None]

    def heartbeat(self, now_ns: int) -> Heartbeat:
        """What is to be said of the line now."""
        judged = self._judged
        return Heartbeat(
            line=self._identity.line,
            state=self._state(now_ns),
            part_id=judged.part_id if judged else None,
            judged_at=_utc(time.time_ns() - (now_ns - judged.published_ns)) if judged else None,
            judged_ns=judged.published_ns if judged else None,
            published_ns=now_ns,
            parts=self._ledger.published,
        )

    def _state(self, now_ns: int) -> Literal["idle", "judging", "blind"]:
        if self._last_ns is None:
            return "idle"
        if self._unknowns >= BLIND_PARTS and self._last_ns - self._unknown_since_ns >= BLIND_NS:
            return "blind"
        return "judging" if now_ns - self._last_ns < IDLE_NS else "idle"

    def _whereabouts(self, part: Part) -> str:
        return f"no answer about part {part.part_id} came {self._guard_ns / 1e6:g} ms before its deadline"

    def _record(self, message: Message, answer: _Answer, now_ns: int) -> bytes:
        part, said = message.part, answer.said
        judged = said if isinstance(said, Judgement) else None
        verdict = Verdict(
            line=self._identity.line,
            part_id=part.part_id,
            epoch=part.epoch,
            sequence=part.sequence,
            camera=part.camera,
            view=part.view,
            source_ref=part.source_ref,
            skipped=part.skipped,
            verdict=judged.verdict if judged else "unknown",
            reason=said.reason,
            detail=said.detail[:300] if isinstance(said, Unknown) else "",
            score=judged.score if judged else None,
            threshold=judged.threshold if judged else None,
            p_value=_told(judged.p_value) if judged else None,
            judges=[_judged(one, rule) for one, rule in zip(answer.each, self._bench.rules, strict=False)],
            regions=judged.regions if judged else [],
            captured_at=_utc(part.captured_at_ns),
            captured_ns=part.captured_ns,
            published_ns=now_ns,
            deadline_ns=part.deadline_ns,
            latency_us=_latencies(message, now_ns),
            registration_px=_registration_px(message),
            recipe=self._identity.recipe,
            bundle=self._identity.bundle,
        )
        reasons = {said.reason} | {one.reason for one in answer.each if isinstance(one, Refused)}
        accept = verdict.verdict == "pass" or (not judged and reasons <= self._identity.accepted)
        head = action_topic(self._identity.line, accept=accept) + b"\n"
        while len(body := verdict_bytes(verdict)) + len(head) > RECORD_BYTES:
            verdict = msgspec.structs.replace(verdict, regions=verdict.regions[: len(verdict.regions) // 2])
        return head + body


@dataclass(frozen=True)
class _Answer:
    """What is to be said of a part, and what each judge made of it, where they were asked."""

    said: Judgement | Unknown
    each: Sequence[Judgement | Refused] = ()


def _judged(one: Judgement | Refused, rule: Rule) -> Judged:
    judged = one if isinstance(one, Judgement) else None
    return Judged(
        name=rule.name,
        verdict=judged.verdict if judged else "unknown",
        reason=one.reason,
        score=judged.score if judged else None,
        threshold=judged.threshold if judged else min(rule.thresholds.values()),
        p_value=_told(judged.p_value) if judged else None,
        bundle=rule.bundle,
    )


def _told(p_value: float | None) -> float | None:
    """To four digits."""
    return None if p_value is None else float(f"{p_value:.4g}")


def _registration_px(message: Message) -> float | None:
    """The worst of any judge's; None where the part was laid onto no master."""
    inputs = message.inputs if isinstance(message, Prediction) else ()
    found = [input_.registration_px for input_ in inputs if isinstance(input_, Laid)]
    return max((px for px in found if px is not None), default=None)


def _latencies(message: Message, now_ns: int) -> dict[str, int]:
    """Microseconds in each stage, waiting for it included; they add up to `total`."""
    start, found = message.part.captured_ns, {}
    for stage, done_ns in sorted(message.done_ns.items(), key=lambda item: item[1]):
        found[stage] = (done_ns - message.part.captured_ns) // 1000 - (start - message.part.captured_ns) // 1000
        start = done_ns
    found["publish"] = (now_ns - message.part.captured_ns) // 1000 - (start - message.part.captured_ns) // 1000
    if isinstance(message, Prediction):
        found["engine"] = message.engine_ns // 1000
    found["total"] = (now_ns - message.part.captured_ns) // 1000
    return found


def _utc(ns: int) -> str:
    stamp = datetime.fromtimestamp(ns // 1_000_000_000, timezone.utc)
    return f"{stamp:%Y-%m-%dT%H:%M:%S}.{ns // 1000 % 1_000_000:06d}Z"


def run_publish(
    life: Life, publisher: Publisher, inbox: zmq.Socket[bytes], socket: zmq.Socket[bytes], heartbeat_ns: int
) -> None:
    """Give out verdicts and heartbeats on a XPUB socket until told to stop.

    A subscriber that comes hears a heartbeat at once. A publisher that was started anew then sends what it has
    given out so far again, so that nobody misses a verdict over it; some get one twice, with the same part_id.
    """
    beat_due_ns = time.monotonic_ns()
    rejoin_end_ns = beat_due_ns + REJOIN_NS if publisher.is_successor else 0

    def send(record: bytes) -> None:
        topic, _, body = record.partition(b"\n")
        socket.send_multipart((topic, body))

    either = zmq.Poller()
    for one in (inbox, socket):
        either.register(one, zmq.POLLIN)
    life.ready()
    while not life.stopping:
        life.beat()
        now_ns = time.monotonic_ns()
        wait_ns = min(publisher.wait_ns(now_ns), max(0, beat_due_ns - now_ns))
        if inbox in dict(either.poll(-(-wait_ns // 1_000_000))):
            publisher.take(unpack(inbox.recv()))
        while (record := publisher.next(time.monotonic_ns())) is not None:
            send(record)
            publisher.sent(record)
        if _subscribed(socket):
            beat_due_ns = 0
            for record in publisher.again() if time.monotonic_ns() < rejoin_end_ns else ():
                send(record)
        if (now_ns := time.monotonic_ns()) >= beat_due_ns:
            beat = publisher.heartbeat(now_ns)
            socket.send_multipart((heartbeat_topic(beat.line), verdict_bytes(beat)))
            beat_due_ns = now_ns + heartbeat_ns


def _subscribed(socket: zmq.Socket[bytes]) -> bool:
    """Whether a subscriber has come since the last time."""
    came = False
    while socket.poll(0):
        came |= socket.recv().startswith(b"\x01")
    return came
