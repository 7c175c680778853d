"""What reaches a stage: messages of this run about parts as the ledger has them, and nothing else."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import zmq
from parts import part_of

from edge.belt.course import ByTime
from edge.belt.join import Join
from edge.belt.layout import Layout
from edge.judges.decide import Rule
from edge.judges.rules import Rules
from edge.memory.arrays import PAGE
from edge.memory.ledger import ROWS, Ledger
from edge.memory.ring import Ring, as_outputs
from edge.memory.stages import Stages
from edge.messages import Frame, Health, Input, Message, Part, Prediction, Refused, Tensor, Unknown
from edge.stages.inbox import Inbox, is_sound
from edge.stages.publisher import Publisher
from edge.stages.sockets import Sockets
from edge.stages.state import State
from edge.stages.verdict import Identity, Reply, is_reply
from edge.wire import RUN_BYTES, VERSION, pack, verdict_from

SHAPES = {"map": (1, 1, 8, 8)}
RULE = Rule(name="spots", bundle="1" * 64, thresholds={"spot": 0.5}, stride=4)
RULES = Rules(judges=(RULE,), outputs=(SHAPES,))
IDENTITY = Identity(line="pcb", run="0" * 16, recipe="r" * 64, bundle="b" * 64, accepted=frozenset())
INPUT = Input(to_frame=(1, 0, 0, 0, 1, 0), registration_px=0.5)
PARTS = 16
SLOTS = 8


class Stand:
    """A publisher behind its inbox, on a real socket, ring and ledger; its parts are due in the far future."""

    def __init__(self, folder: Path, sockets: Sockets, stages: Stages) -> None:
        self.ledger, self.stages = Ledger.create(folder / "ledger"), stages
        self.ring = Ring.create(folder / "ring", slots=SLOTS, frame=8, tensors=[8], outputs=[256])
        ledgers = {"camera": self.ledger}
        join = Join(ledgers, Layout(), ByTime())
        self.publisher = Publisher(
            {"camera": self.ring}, ledgers, {"camera": RULES}, IDENTITY, 10, State({}, {}), join
        )
        self.inbox: Inbox[Reply] = Inbox(
            sockets.inbox("publish"),
            {"camera": self.ledger},
            stages,
            "publish",
            lambda message: is_reply(message, 1),
        )
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PUSH)
        self._socket.connect(f"ipc://{folder}/publish.ipc")
        self.passed: list[str] = []

    def close(self) -> None:
        self._context.destroy(linger=0)

    def enter(self) -> Part:
        entry = self.ledger.captured
        slot, generation = self.ring.lease(entry, self.ledger.published)
        return self.ledger.enter(part_of(entry, slot=slot, generation=generation, deadline_ns=10**18))

    def write(self, part: Part, heat: float) -> None:
        with self.ring.area(part, "outputs") as area:
            as_outputs(area, SHAPES)["map"][:] = heat

    def send(self, data: bytes) -> None:
        """Send and have the stage take it."""
        self._socket.send(data)
        assert self.inbox.poll(10_000)
        if (reply := self.inbox.take()) is not None:
            self.publisher.take(reply)

    def publish(self) -> list[str]:
        """The reasons of the verdicts that are due."""
        reasons = []
        while (record := self.publisher.next(lambda: 1_000)) is not None:
            verdict = verdict_from(record.body)
            reasons.append(verdict.reason)
            if verdict.verdict == "pass":
                self.passed.append(verdict.part_id)
            self.publisher.sent(record)
        return reasons

    @property
    def dropped(self) -> int:
        return int(self.stages["publish"]["dropped"][0])


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    stages = Stages.create(tmp_path / "stages", ["publish"])
    with Sockets(tmp_path, stages.run) as sockets:
        made = Stand(tmp_path, sockets, stages)
        yield made
        made.close()


def prediction(part: Part, **more: object) -> Prediction:
    made = Prediction(part=part, inputs=(INPUT,), engine_ns=5, done_ns={"infer": 7})
    return msgspec.structs.replace(made, **more)


def test_of_a_thousand_messages_that_are_none_not_one_passes_a_part(stand: Stand) -> None:
    """Stale, forged, garbled, of the past, of the future: each is dropped and counted, and says nothing."""
    rng = random.Random(5)
    run, past = stand.stages.run, part_of(0)
    for _ in range(ROWS + 3):  # parts that are overwritten by now
        stand.send(pack(Unknown(part=stand.enter(), reason="dark", detail="", done_ns={}), run))
        stand.publish()
    parts = [stand.enter() for _ in range(PARTS)]

    def other(part: Part) -> Part:
        name = rng.choice([name for name in Part.__struct_fields__ if name != "entry"])
        value = getattr(part, name)
        changed = value + "x" if isinstance(value, str) else value + rng.choice((-1, 1, 1000))
        return msgspec.structs.replace(part, **{name: changed})

    def message(part: Part) -> bytes:
        match rng.randrange(9):
            case 0:
                return pack(prediction(part), os.urandom(RUN_BYTES))
            case 1 | 2 | 3:
                return pack(prediction(other(part)), run)
            case 4:
                return pack(Unknown(part=other(part), reason="engine", detail="", done_ns={}), run)
            case 5:
                later = msgspec.structs.replace(part, entry=stand.ledger.captured + rng.randrange(10**9))
                return pack(prediction(rng.choice((past, later))), run)
            case 6:
                flat = Input(to_frame=(float("nan"), 0, 0, 0, 1, 0), registration_px=None)
                return pack(prediction(part, inputs=rng.choice(((), (INPUT, INPUT), (flat,)))), run)
            case 7:
                wrong: Message = Frame(part=part, shape=(2, 4), done_ns={})
                if rng.random() < 0.5:
                    wrong = Tensor(part=part, inputs=(INPUT,), done_ns={})
                return pack(wrong, run)
            case _:
                data = pack(prediction(part), run)
                return rng.choice((data[: rng.randrange(len(data))], rng.randbytes(rng.randrange(300))))

    for _ in range(1_000):
        stand.send(message(rng.choice(parts)))
    assert stand.dropped == 1_000
    assert stand.publish() == []
    for part in parts[:SLOTS]:  # and what is true is still heard
        stand.write(part, 0.1)
        stand.send(pack(prediction(part), run))
    assert stand.publish() == ["clean"] * SLOTS
    assert stand.passed == [part.part_id for part in parts[:SLOTS]]


def test_outputs_that_nobody_wrote_pass_no_part(stand: Stand) -> None:
    """Not those of a new slot, and not those that an earlier part left there."""
    for round_ in range(3):
        parts = [stand.enter() for _ in range(SLOTS)]
        for part in parts:
            if round_ == 1:
                stand.write(part, 0.1)
            stand.send(pack(prediction(part), stand.stages.run))
        assert stand.publish() == ["clean" if round_ == 1 else "score"] * SLOTS
    assert stand.dropped == 0


def test_a_part_is_known_by_its_texts_whatever_they_are(stand: Stand) -> None:
    """A name that does not fit the ledger, or is no text, is cut alike everywhere, and ends nothing."""
    for view in ("v" * 500, "é" * 100, "a\0b\n", "\udcff.png", ""):
        entry = stand.ledger.captured
        slot, generation = stand.ring.lease(entry, stand.ledger.published)
        named = part_of(entry, slot=slot, generation=generation, deadline_ns=10**18, view=view)
        part = stand.ledger.enter(msgspec.structs.replace(named, source_ref=view * 9))
        stand.write(part, 0.1)
        stand.send(pack(prediction(part), stand.stages.run))
        assert stand.publish() == ["clean"]
        assert len(part.view.encode()) <= 128
        assert part.view.isprintable()
    assert stand.dropped == 0


def test_outputs_are_no_number_from_the_lease_on(tmp_path: Path) -> None:
    """Of every judge, from page to page, in the slot that was leased and in no other."""
    ring = Ring.create(tmp_path / "ring", slots=4, frame=8, tensors=[8, 8], outputs=[9000, 64])
    for number in (0, 1):
        ring.memory("outputs", number)[:] = 0
    slot, _ = ring.lease(0, 0)
    for number in (0, 1):
        outputs = ring.memory("outputs", number).view(np.float32)
        assert np.isnan(outputs[slot].reshape(-1, PAGE // 4)[:, 0]).all()
        assert not np.isnan(np.delete(outputs, slot, axis=0)).any()


@pytest.mark.parametrize(
    "to_frame",
    [
        pytest.param((1.0, 0.0, float("nan"), 0.0, 1.0, 0.0), id="no number"),
        pytest.param((1.0, 0.0, float("inf"), 0.0, 1.0, 0.0), id="infinite"),
        pytest.param((1e200, 0.0, 0.0, 0.0, 1e200, 0.0), id="larger than any frame"),
        pytest.param((0.0, 0.0, 0.0, 0.0, 0.0, 0.0), id="nothing of the frame"),
        pytest.param((1.0, 0.0, 0.0, 0.0, -1.0, 0.0), id="turned over"),
    ],
)
def test_what_lies_nowhere_in_the_frame_is_no_input(to_frame: tuple[float, ...]) -> None:
    """A judge that was refused has no transform, and does not count."""
    dark, good = Refused(reason="dark", detail=""), INPUT
    assert is_sound(prediction(part_of(0), inputs=(dark, good)))
    wrong = msgspec.structs.replace(good, to_frame=to_frame)
    assert not is_sound(prediction(part_of(0), inputs=(dark, good, wrong)))


def test_an_error_of_registration_that_is_no_number_is_no_input() -> None:
    """JSON has no word for it."""
    wrong = msgspec.structs.replace(INPUT, registration_px=float("nan"))
    assert not is_sound(prediction(part_of(0), inputs=(wrong,)))


@pytest.mark.parametrize("field", ["level", "saturated", "focus", "rotation_deg"])
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_picture_whose_health_is_no_number_is_not_told(field: str, number: float) -> None:
    """Not by a judged part, and not by one that could not be judged."""
    good = Health(level=100.0, saturated=0.0, focus=0.5, shift_px=(0.5, -1.0), rotation_deg=0.1)
    wrong = msgspec.structs.replace(good, **{field: number})
    for message in (
        prediction(part_of(0)),
        Tensor(part=part_of(0), inputs=(INPUT,), done_ns={}),
        Unknown(part=part_of(0), reason="dark", detail="", done_ns={}),
    ):
        assert is_sound(msgspec.structs.replace(message, health=good))
        assert not is_sound(msgspec.structs.replace(message, health=wrong))


def test_a_defect_that_vanishes_in_the_frame_passes_no_part(stand: Stand) -> None:
    """A message that shrinks a part to nothing would make each defect too small for `min_area_px`."""
    part = stand.enter()
    stand.write(part, 0.9)
    flat = msgspec.structs.replace(INPUT, to_frame=(0.0, 0.0, 5.0, 0.0, 0.0, 5.0))
    stand.send(pack(prediction(part, inputs=(flat,)), stand.stages.run))
    assert stand.dropped == 1
    stand.send(pack(prediction(part), stand.stages.run))
    assert stand.publish() == ["defect"]


@pytest.mark.parametrize("end", [b"", b"\xc0"], ids=["open", "closed"])
@pytest.mark.parametrize("nest", [b"\x91", b"\x81\xa1a"], ids=["lists", "maps"])
def test_a_message_that_is_nested_deeply_is_none(stand: Stand, nest: bytes, end: bytes) -> None:
    """It is dropped like any other. The decoder would stop a stage that does not expect it."""
    message = {"type": "Unknown", "more": None}
    head = bytes((VERSION,)) + stand.stages.run
    data = head + msgspec.msgpack.encode(message)[:-1] + nest * 20_000 + end
    stand.send(data)
    assert stand.dropped == 1
