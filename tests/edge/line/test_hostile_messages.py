"""Thousands of messages that no stage sends, on every socket of a running line: it judges as before."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import zmq
from lines import UNHURRIED, Subscriber, judged, line_name, running, stop, until

from edge.line.ask import ask
from edge.messages import Frame, Health, Input, Notice, Part, Prediction, Refused, Tensor, Unknown
from edge.wire import pack

STAGES = ("capture", "preprocess", "infer", "publish")
INBOXES = STAGES[1:]
COUNT = 2000

SHAPES = ((), (0,), (64, 64), (64, 64, 3), (-1, 64), (10**9, 10**9), (2**62, 2**62, 2**62), (4096,))
NUMBERS = (0.0, 1.0, -1.0, 1e-300, 1e6, 1e200, float("inf"), float("nan"))
TIMES = (0, -1, 2**63 - 1, -(2**63), 2**64 - 1)
TEXTS = ("", "x" * 10_000, "\0", "é" * 1000)


class Hostile:
    """Makes messages about real parts in which one field or several have values that no stage writes."""

    def __init__(self, seed: int, run: bytes, line: str) -> None:
        self.rng, self.run, self.line = random.Random(seed), run, line

    def bytes(self, part: Part) -> bytes:
        kinds = (self._frame, self._tensor, self._prediction, self._unknown, self._notice)
        message = self.rng.choice(kinds)(part)
        data = bytearray(pack(message, self.run if self.rng.random() < 0.9 else bytes(8)))
        kind = self.rng.randrange(6)
        if kind == 0:  # bytes changed
            for _ in range(self.rng.randrange(1, 5)):
                data[self.rng.randrange(len(data))] = self.rng.randrange(256)
        elif kind == 1:  # cut or continued
            data = data[: self.rng.randrange(len(data))] + self.rng.randbytes(self.rng.randrange(50))
        elif kind == 2:  # nested
            data = data[:9] + b"\x82\xa4type\xa7Unknown\xa1z" + b"\x91" * self.rng.randrange(20_000)
        elif kind == 3:
            data = bytearray(self.rng.randbytes(self.rng.randrange(2000)))
        return bytes(data)

    def _done(self) -> dict[str, int]:
        return {
            self.rng.choice((*STAGES, *TEXTS)): self.rng.choice(TIMES) for _ in range(self.rng.randrange(4))
        }

    def _inputs(self) -> tuple[Input | Refused, ...]:
        found: list[Input | Refused] = []
        for _ in range(self.rng.randrange(4)):
            if self.rng.random() < 0.3:
                found.append(Refused(reason="dark", detail=self.rng.choice(TEXTS)))
                continue
            place = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
            for _ in range(self.rng.randrange(3)):
                place[self.rng.randrange(6)] = self.rng.choice(NUMBERS)
            a, b, c, d, e, f = place
            px = self.rng.choice((None, *NUMBERS))
            found.append(
                Input(to_frame=(a, b, c, d, e, f), registration_px=px, in_slot=self.rng.random() < 0.5)
            )
        return tuple(found)

    def _health(self) -> Health | None:
        if self.rng.random() < 0.5:
            return None
        level, saturated, focus, angle, right, down = (self.rng.choice(NUMBERS) for _ in range(6))
        repeats = self.rng.choice(TIMES[:3])
        return Health(
            level=level,
            saturated=saturated,
            focus=focus,
            repeats=repeats,
            shift_px=(right, down),
            rotation_deg=angle,
        )

    def _notice(self, part: Part) -> Notice:
        alarms = tuple("x" * 1000 for _ in range(self.rng.randrange(50)))
        topic = self.rng.choice((b"alarm.", b"accept.", b"reject.", b"heartbeat.")) + self.line.encode()
        body = self.rng.choice((b"", b"{}", b"x" * 9000, b"[" * 9000, b'{"v":1}'))
        return Notice(topic=topic, body=body, alarm=self.rng.choice(TEXTS[:3]), alarms=alarms)

    def _frame(self, part: Part) -> Frame:
        return Frame(part=part, shape=self.rng.choice(SHAPES), done_ns=self._done())

    def _tensor(self, part: Part) -> Tensor:
        return Tensor(part=part, inputs=self._inputs(), health=self._health(), done_ns=self._done())

    def _prediction(self, part: Part) -> Prediction:
        engine_ns = self.rng.choice(TIMES)
        inputs, health = self._inputs(), self._health()
        return Prediction(part=part, inputs=inputs, health=health, engine_ns=engine_ns, done_ns=self._done())

    def _unknown(self, part: Part) -> Unknown:
        detail, health = self.rng.choice(TEXTS), self._health()
        return Unknown(part=part, reason="dark", detail=detail, health=health, done_ns=self._done())


def dropped(name: str) -> dict[str, int]:
    stages = ask(name, "status")["stages"]
    return {stage: stages[stage]["dropped"] for stage in INBOXES}


@pytest.mark.parametrize("bad", [False, True], ids=["good parts", "bad parts"])
def test_hostile_messages_end_no_stage_and_pass_no_part(
    tmp_path: Path, endless: Callable[..., Path], bad: bool
) -> None:
    """On each inbox: random, altered and nested messages, and true ones with values that no stage writes."""
    recipe = endless(UNHURRIED, fps=50, score=0.9 if bad else 0.1)
    with Subscriber(tmp_path) as subscriber, running(recipe) as line, zmq.Context() as context:
        until(judged(subscriber, 5), "parts are judged", line)
        name, ledger, run = line_name(tmp_path), line.ledger(), line.stages().run
        pids = {stage: line.pid(stage) for stage in STAGES}
        hostile = Hostile(5, run, name)
        context.setsockopt(zmq.LINGER, 0)
        for stage in INBOXES:
            with context.socket(zmq.PUSH) as socket, context.socket(zmq.PUSH) as long:
                for opened in (socket, long):
                    opened.connect(f"ipc://{line.run}/{stage}.ipc")
                long.send(bytes(50_000_000))
                for number in range(COUNT):
                    part = ledger.part(ledger.captured - 1 - hostile.rng.randrange(3))
                    frames = [hostile.bytes(part) for _ in range(1 if number % 10 else 3)]
                    socket.send_multipart(frames)
                until(lambda stage=stage: dropped(name)[stage] > COUNT / 4, f"{stage} has dropped them", line)
        until(judged(subscriber, 20), "parts are judged again", line)
        assert pids == {stage: line.pid(stage) for stage in STAGES}
        stop(line)
    verdicts = [verdict for _, verdict in subscriber.verdicts]
    assert len({verdict.part_id for verdict in verdicts}) == len(verdicts)
    assert {verdict.verdict for verdict in verdicts} <= {"unknown", "reject" if bad else "pass"}
    assert {verdict.verdict for verdict in verdicts[-10:]} == {"reject" if bad else "pass"}
    # A sender cannot make the JSON that subscribers read longer than the ledger's record.
    assert all(len(msgspec.json.encode(verdict)) < 8192 for verdict in verdicts)
