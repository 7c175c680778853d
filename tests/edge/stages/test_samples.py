"""The samples of a part: frames that an engine warps, tiles of a picture, and where the outputs belong."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from infer_parts import (
    SHAPE,
    WARPER,
    Means,
    infer_of,
    said,
    tensor_of,
)
from parts import part_of

from edge.bundle import read_bundle
from edge.engines import open_engine
from edge.image.warp import Warper
from edge.judges.gallery import Gallery
from edge.judges.golden import judge as judge_picture
from edge.manifest import InputSpec
from edge.memory.ring import Ring, as_image, as_outputs, outputs_nbytes
from edge.messages import Input, Prediction, Refused, Tensor
from edge.recipe import EngineChoice
from edge.stages.infer import Infer
from edge.stages.judge_engine import JudgeEngine, Looks
from edge.stages.references import References
from edge.tiles import Grid


class _Embeds(Means):
    def collect(self, lane: int) -> list[dict[str, np.ndarray]]:
        return [{"embedding": np.array([[1, 0]], np.float32)} for _ in self.taken.pop(lane)]


def test_outputs_that_are_joined_or_scored_do_not_go_into_the_slot(ring: Ring) -> None:
    """There, only the joined outputs of all tiles belong, or a matcher's score."""
    engine = Means()
    tiles = JudgeEngine(engine=engine, warper=WARPER, grid=Grid(2, 1, 64, 40))  # type: ignore[arg-type]
    infer_of(ring, tiles).start([tensor_of(ring, 0, np.zeros((64, 64), np.uint8))])
    assert engine.slots == [None, None]
    gallery = Gallery(_Embeds(), [np.ones(SHAPE, np.uint8)])  # type: ignore[arg-type]
    matcher = JudgeEngine(engine=engine, warper=WARPER, gallery=gallery)  # type: ignore[arg-type]
    infer_of(ring, matcher).start([tensor_of(ring, 1, np.zeros((64, 64), np.uint8))])
    assert engine.slots == [None]
    plain = JudgeEngine(engine=engine, warper=WARPER)  # type: ignore[arg-type]
    infer_of(ring, plain).start([tensor_of(ring, 2, np.zeros((64, 64), np.uint8))])
    assert engine.slots[0] is not None


@pytest.mark.parametrize("able", [True, False])
def test_a_frame_that_preprocess_left_to_the_engine_is_warped_by_it_or_else_here(
    tmp_path: Path, textured: np.ndarray, able: bool
) -> None:
    """Also where infer was started anew with an engine that cannot; publish is told the same of either."""
    ring = Ring.create(tmp_path / "frames", slots=2, frame=2 * 64 * 64, tensors=[64 * 64], outputs=[4])
    slot, generation = ring.lease(0, published=0)
    part = part_of(0, slot=slot, generation=generation)
    with ring.area(part, "frame") as area:
        as_image(area, (64, 64))[:] = textured
    master, wanted = np.full(SHAPE, 200, np.uint8), np.empty(SHAPE, np.uint8)
    warp = WARPER.warp((64, 64), np.array([[1.0, 0.01, 2.5], [-0.01, 1.0, -1.5]]))
    warp.apply(textured, wanted, master)
    engine = Means()
    engine.warps_frames = able
    references = References(engine, lambda view: master, 0)  # type: ignore[arg-type]
    infer = infer_of(ring, JudgeEngine(engine=engine, warper=WARPER, references=references))  # type: ignore[arg-type]
    left = Input(to_frame=warp.to_frame, registration_px=0.25, in_slot=False)
    assert not infer.start([Tensor(part=part, inputs=(left,), done_ns={})])
    shown = engine.taken[0][0].copy()
    if able:
        assert np.array_equal(shown, textured)
        assert engine.warps[0].to_frame == warp.to_frame
        assert engine.pinned == [(2, 64 * 64), (2, 4096), (2, 2 * 64 * 64)]  # inputs, outputs, frames
    else:
        assert engine.warps == [None]
        assert engine.pinned == [(2, 64 * 64), (2, 4096)]
        assert np.array_equal(shown, wanted)
    (prediction,) = infer.finish()
    assert prediction.inputs == (left,)


def test_judges_that_warp_frames_share_the_region_that_they_read(tmp_path: Path) -> None:
    """It holds what both read, and nothing for a judge that refused the part or whose input is in the slot."""
    ring = Ring.create(tmp_path / "r", slots=1, frame=400 * 300, tensors=[64 * 64] * 4, outputs=[4] * 4)
    spec = InputSpec(height=64, width=64)
    crops = [(80, 70, 64, 64), (100, 90, 64, 64), (0, 0, 64, 64), (300, 200, 64, 64)]
    engines, warpers = [Means() for _ in crops], [Warper(crop, spec) for crop in crops]
    for engine in engines:
        engine.warps_frames = True
    judges = [
        JudgeEngine(engine=engine, warper=warper)  # type: ignore[arg-type]
        for engine, warper in zip(engines, warpers, strict=True)
    ]
    infer = Infer({"camera": Looks(ring=ring, judges=judges, frame=(300, 400))})
    slot, generation = ring.lease(0, published=0)
    part = part_of(0, slot=slot, generation=generation)
    to_frame = [warper.warp((300, 400)).to_frame for warper in warpers]
    left = [Input(to_frame=each, registration_px=0.0, in_slot=False) for each in to_frame[:2]]
    refused = Refused(reason="dark", detail="")
    there = Input(to_frame=to_frame[3], registration_px=0.0)
    assert not infer.start([Tensor(part=part, inputs=(*left, refused, there), done_ns={})])
    first, second = engines[0].regions[0], engines[1].regions[0]
    assert first is second
    assert first.box == (80, 70, 164, 154)
    assert first.reach == (16, 6, 228, 218)  # with 64 px of margin
    assert first.readers == 2


@pytest.mark.parametrize("in_slot", [True, False])
def test_a_part_of_several_tiles_gets_one_result(tmp_path: Path, tiny_bundle: Path, in_slot: bool) -> None:
    """Joined of its tiles, each compared with its piece of the master, for two parts on two lanes at once."""
    grid = Grid(3, 2, 64, 64)
    spec, stride = InputSpec(height=grid.size[0], width=grid.size[1]), 4
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (2, *grid.size), np.uint8)
    master = rng.integers(0, 256, spec.shape, np.uint8)
    outputs = {"map": (1, 2, 28, 40), "extents": (1, 4, 28, 40)}
    ring = Ring.create(
        tmp_path / "tiles",
        slots=2,
        frame=frames[0].size,
        tensors=[frames[0].size],
        outputs=[outputs_nbytes(outputs)],
    )
    bundle = read_bundle(tiny_bundle)
    with open_engine(EngineChoice(precision="fp32"), bundle) as engine:
        references = References(engine, lambda view: master, 2**20, grid)
        warper = Warper(None, spec)
        judge = JudgeEngine(engine=engine, warper=warper, references=references, grid=grid, stride=stride)
        infer = Infer({"camera": Looks(ring=ring, judges=[judge], frame=grid.size)})
        assert (infer.batch, infer.lanes) == (1, 2)
        to_frame = warper.warp(frames[0].shape).to_frame
        for entry, frame in enumerate(frames):
            slot, generation = ring.lease(entry, published=0)
            part = part_of(entry, slot=slot, generation=generation)
            with ring.area(part, "frame") as area, ring.area(part, "tensor") as tensor:
                as_image(area, grid.size)[:] = frame
                as_image(tensor, spec.shape)[:] = frame if in_slot else 0
            input_ = Input(to_frame=to_frame, registration_px=0.0, in_slot=in_slot)
            assert not infer.start([Tensor(part=part, inputs=(input_,), done_ns={})])
        predictions = [infer.finish()[0] for _ in frames]
        wanted = [
            judge_picture(
                engine, msgspec.structs.replace(bundle.manifest, tiles=(3, 2)), frame[None, None], master
            )
            for frame in frames
        ]
    for prediction, expected in zip(predictions, wanted, strict=True):
        assert isinstance(prediction, Prediction)
        with ring.area(prediction.part, "outputs") as area:
            found = as_outputs(area, outputs)
            for name, output in expected.items():
                assert np.array_equal(found[name], output)


def test_tiles_of_a_frame_that_is_left_to_the_engine_are_windows_of_its_warp(tmp_path: Path) -> None:
    """Of two parts in one batch, as many as the engine takes tiles; each part has the highest of its scores."""
    grid = Grid(2, 1, 64, 64)
    spec = InputSpec(height=grid.size[0], width=grid.size[1])
    frames = np.random.default_rng(0).integers(1, 256, (2, *grid.size), np.uint8)
    ring = Ring.create(tmp_path / "two", slots=2, frame=frames[0].size, tensors=[frames[0].size], outputs=[4])
    engine, warper = Means(), Warper(None, spec)
    engine.warps_frames, engine.batch = True, 5
    infer = Infer(
        {
            "camera": Looks(
                ring=ring, judges=[JudgeEngine(engine=engine, warper=warper, grid=grid)], frame=grid.size
            )
        }
    )  # type: ignore[arg-type]
    assert infer.batch == 2
    warp, tensors = warper.warp(grid.size, np.array([[1.0, 0, 2.5], [0, 1, -1.5]])), []
    for entry, frame in enumerate(frames):
        slot, generation = ring.lease(entry, published=0)
        part = part_of(entry, slot=slot, generation=generation)
        with ring.area(part, "frame") as area:
            as_image(area, grid.size)[:] = frame
        input_ = Input(to_frame=warp.to_frame, registration_px=None, in_slot=False)
        tensors.append(Tensor(part=part, inputs=(input_,), done_ns={}))
    assert not infer.start(tensors)
    shown = engine.taken[0]
    for number, (image, window) in enumerate(zip(shown, engine.warps, strict=True)):
        part, tile = divmod(number, grid.count)
        assert np.array_equal(image, frames[part])
        whole, out = np.empty(spec.shape, np.uint8), np.empty((1, 1, 64, 64), np.uint8)
        warp.apply(frames[part], whole)
        window.apply(image, out)
        assert np.abs(out.astype(int) - grid.cut(whole)[tile]).max() <= 1
    for prediction, frame in zip(infer.finish(), frames, strict=True):
        assert said(ring, prediction, 0, {"score": (1,)})["score"] == np.float32(frame.mean())
