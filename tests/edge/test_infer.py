"""The step that keeps the engine's lanes in flight."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from parts import part_of

from edge.bundle import read_bundle
from edge.engines import open_engine
from edge.engines.base import Engine
from edge.errors import EngineError, PartError, SlotOverwritten
from edge.infer import Infer, References
from edge.messages import Tensor
from edge.recipe import EngineChoice
from edge.ring import Ring, as_image, as_outputs

SHAPE = (1, 1, 64, 64)


@pytest.fixture
def ring(tmp_path: Path) -> Ring:
    return Ring.create(tmp_path / "ring", slots=4, frame=8, tensor=64 * 64, outputs=4 * 6 * 16 * 16)


@pytest.fixture
def engine(tiny_bundle: Path) -> Iterator[Engine]:
    with open_engine(EngineChoice(), read_bundle(tiny_bundle)) as engine:
        yield engine


def tensor_of(ring: Ring, entry: int, picture: np.ndarray, view: str = "a") -> Tensor:
    slot, generation = ring.lease(entry, published=entry) or (-1, 0)
    part = part_of(entry, slot=slot, generation=generation)
    with ring.area(part, "tensor") as area:
        as_image(area, SHAPE)[:] = picture
    return Tensor(part=part, shape=SHAPE, to_frame=(1, 0, 0, 0, 1, 0), registration_px=0.0, done_ns={})


def test_each_part_gets_its_own_result(ring: Ring, engine: Engine, textured: np.ndarray) -> None:
    """With all lanes in flight, the part with the spot is the one whose outputs show it, every time."""
    infer = Infer(ring, engine, References(engine, lambda view: textured.reshape(SHAPE), 2**20))
    assert infer.depth == 2
    spotted = textured.copy()
    spotted[20:28, 36:44] = 255
    pictures = [spotted if entry % 3 == 0 else textured for entry in range(12)]
    hot = []
    infer.start(tensor_of(ring, 0, pictures[0]))
    for entry in range(12):
        if entry + 1 < 12:
            infer.start(tensor_of(ring, entry + 1, pictures[entry + 1]))
        prediction = infer.finish()
        assert prediction.part.entry == entry
        with ring.area(prediction.part, "outputs") as area:
            hot.append(bool(as_outputs(area, prediction.outputs)["map"].max() > 0.2))
    assert hot == [entry % 3 == 0 for entry in range(12)]


def test_a_tensor_of_a_later_part_is_not_judged(ring: Ring, engine: Engine, textured: np.ndarray) -> None:
    """A slot that was leased anew while its part was in flight gives no prediction."""
    infer = Infer(ring, engine, References(engine, lambda view: textured.reshape(SHAPE), 2**20))
    infer.start(tensor_of(ring, 0, textured))
    for entry in range(1, 5):
        ring.lease(entry, published=entry)
    with pytest.raises(SlotOverwritten):
        infer.finish()
    infer.start(tensor_of(ring, 5, textured))
    assert infer.finish().part.entry == 5


def test_a_lane_comes_back_after_a_failure(
    ring: Ring, constant_bundle: Callable[..., Path], textured: np.ndarray
) -> None:
    """An engine that fails on one part judges the next ones on all of its lanes."""
    bundle = read_bundle(constant_bundle(fault="device lost", every=2))
    with open_engine(EngineChoice(), bundle) as engine:
        infer = Infer(ring, engine, None)
        for entry in range(8):
            infer.start(tensor_of(ring, entry, textured))
            if entry % 2:
                with pytest.raises(EngineError, match="device lost"):
                    infer.finish()
            else:
                assert infer.finish().part.entry == entry


def test_a_view_without_a_master_is_refused(ring: Ring, engine: Engine, textured: np.ndarray) -> None:
    """A part of an unknown view is no prediction, and the part after it is."""

    def master(view: str) -> np.ndarray:
        if view != "a":
            raise PartError("view", f"no master for {view}")
        return textured.reshape(SHAPE)

    infer = Infer(ring, engine, References(engine, master, 2**20))
    message = tensor_of(ring, 0, textured)
    stranger = Tensor(
        part=part_of(0, slot=message.part.slot, generation=message.part.generation, view="z"),
        shape=SHAPE,
        to_frame=message.to_frame,
        registration_px=0.0,
        done_ns={},
    )
    with pytest.raises(PartError):
        infer.start(stranger)
    infer.start(message)
    assert infer.finish().part == message.part


@dataclass
class _Sized:
    view: str
    nbytes: int


class _Counting:
    """An engine that only makes references, and counts them."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def reference(self, master: str) -> _Sized:
        self.made.append(master)
        return _Sized(master, 100)


def test_references_are_made_once_and_kept_within_their_memory() -> None:
    """The features of a master are computed once while there is room; the one not used longest goes first."""
    engine = _Counting()
    references = References(engine, lambda view: view, limit_bytes=250)  # type: ignore[arg-type, return-value]
    for view in "abaacabcb":
        assert references(view).view == view  # type: ignore[attr-defined]
    assert "".join(engine.made) == "abcbc"
