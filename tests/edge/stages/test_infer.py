"""The step that keeps the engine's lanes in flight."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from parts import part_of

from edge.bundle import read_bundle
from edge.engines import open_engine
from edge.engines.base import Engine, Sample
from edge.errors import EngineError, EngineLost, PartError
from edge.image.warp import Warper
from edge.judges.gallery import Gallery
from edge.judges.golden import judge as judge_picture
from edge.manifest import InputSpec
from edge.memory.ring import Ring, as_image, as_outputs, outputs_nbytes
from edge.messages import Input, Prediction, Refused, Tensor, Unknown
from edge.recipe import EngineChoice
from edge.stages.infer import Infer, JudgeEngine, Looks
from edge.stages.references import References
from edge.tiles import Grid

SHAPE = (1, 1, 64, 64)
WARPER = Warper(None, InputSpec(height=64, width=64))
OUTPUTS = {"map": (1, 2, 16, 16), "extents": (1, 4, 16, 16)}
INPUT = Input(to_frame=(1, 0, 0, 0, 1, 0), registration_px=0.0)
REFUSED = Refused(reason="registration", detail="moved 40 px")


@pytest.fixture
def ring(tmp_path: Path) -> Ring:
    return Ring.create(
        tmp_path / "ring", slots=4, frame=8, tensors=[64 * 64] * 3, outputs=[outputs_nbytes(OUTPUTS)] * 3
    )


@pytest.fixture
def engine(tiny_bundle: Path) -> Iterator[Engine]:
    with open_engine(EngineChoice(), read_bundle(tiny_bundle)) as engine:
        yield engine


def tensor_of(
    ring: Ring, entry: int, picture: np.ndarray, inputs: tuple[Input | Refused, ...] = (INPUT,)
) -> Tensor:
    slot, generation = ring.lease(entry, published=entry)
    part = part_of(entry, slot=slot, generation=generation)
    for number in range(len(inputs)):
        with ring.area(part, "tensor", number) as area:
            as_image(area, SHAPE)[:] = picture
    return Tensor(part=part, inputs=inputs, done_ns={})


def judged(infer: Infer) -> list[int]:
    """The entries of the parts that were started first, all of which have their prediction."""
    outcomes = infer.finish()
    assert all(isinstance(outcome, Prediction) for outcome in outcomes)
    return [outcome.part.entry for outcome in outcomes]


def reason(infer: Infer) -> str:
    """Why the one part that was started first is unknown."""
    (unknown,) = infer.finish()
    assert isinstance(unknown, Unknown)
    return unknown.reason if unknown.reason != "engine" else f"engine: {unknown.detail}"


def compared(engine: Engine, master: Callable[[str], np.ndarray]) -> JudgeEngine:
    """A comparator's engine with its masters."""
    return JudgeEngine(engine=engine, warper=WARPER, references=References(engine, master, 2**20))


def infer_of(ring: Ring, *judges: JudgeEngine) -> Infer:
    return Infer({"camera": Looks(ring=ring, judges=judges, frame=(64, 64))})


def test_each_part_gets_its_own_result(ring: Ring, engine: Engine, textured: np.ndarray) -> None:
    """With all lanes in flight, the part with the spot is the one whose outputs show it, every time."""
    infer = infer_of(ring, compared(engine, lambda view: textured.reshape(SHAPE)))
    assert infer.lanes == 2
    spotted = textured.copy()
    spotted[20:28, 36:44] = 255
    pictures = [spotted if entry % 3 == 0 else textured for entry in range(12)]
    hot = []
    assert not infer.start([tensor_of(ring, 0, pictures[0])])
    for entry in range(12):
        if entry + 1 < 12:
            assert not infer.start([tensor_of(ring, entry + 1, pictures[entry + 1])])
        (prediction,) = infer.finish()
        assert prediction.part.entry == entry
        with ring.area(prediction.part, "outputs") as area:
            hot.append(bool(as_outputs(area, OUTPUTS)["map"].max() > 0.2))
    assert hot == [entry % 3 == 0 for entry in range(12)]


def test_a_tensor_of_a_later_part_is_not_judged(ring: Ring, engine: Engine, textured: np.ndarray) -> None:
    """A slot that was leased anew while its part was in flight gives no prediction."""
    infer = infer_of(ring, compared(engine, lambda view: textured.reshape(SHAPE)))
    assert not infer.start([tensor_of(ring, 0, textured)])
    for entry in range(1, 5):
        ring.lease(entry, published=entry)
    assert reason(infer) == "overwritten"
    assert not infer.start([tensor_of(ring, 5, textured)])
    assert judged(infer) == [5]


def test_a_lane_comes_back_after_a_failure(
    ring: Ring, constant_bundle: Callable[..., Path], textured: np.ndarray
) -> None:
    """An engine that fails on one part judges the next ones on all of its lanes."""
    bundle = read_bundle(constant_bundle(fault="device lost", every=2))
    with open_engine(EngineChoice(), bundle) as engine:
        infer = infer_of(ring, JudgeEngine(engine=engine, warper=WARPER))
        for entry in range(8):
            assert not infer.start([tensor_of(ring, entry, textured)])
            if entry % 2:
                assert reason(infer) == "engine: device lost"
            else:
                assert judged(infer) == [entry]


def test_a_view_without_a_master_is_refused(ring: Ring, engine: Engine, textured: np.ndarray) -> None:
    """A part of an unknown view is no prediction, and the part after it is."""

    def master(view: str) -> np.ndarray:
        if view != "a":
            raise PartError("view", f"no master for {view}")
        return textured.reshape(SHAPE)

    infer = infer_of(ring, compared(engine, master))
    message = tensor_of(ring, 0, textured)
    stranger = Tensor(
        part=part_of(0, slot=message.part.slot, generation=message.part.generation, view="z"),
        inputs=message.inputs,
        done_ns={},
    )
    (unknown,) = infer.start([stranger])
    assert (unknown.part, unknown.reason) == (stranger.part, "view")
    assert not infer.start([message])
    assert judged(infer) == [0]


def said(ring: Ring, prediction: Prediction, number: int, shapes: dict[str, tuple[int, ...]]) -> dict:
    """A copy of what one judge said of a part."""
    with ring.area(prediction.part, "outputs", number) as area:
        return {name: array.copy() for name, array in as_outputs(area, shapes).items()}


@pytest.fixture
def anomaly(score_bundle: Path) -> Iterator[JudgeEngine]:
    with open_engine(EngineChoice(), read_bundle(score_bundle)) as engine:
        yield JudgeEngine(engine=engine, warper=WARPER)


def test_each_judge_says_what_it_has_to_say_in_its_own_place(
    ring: Ring, engine: Engine, anomaly: JudgeEngine, textured: np.ndarray
) -> None:
    """Two judges look at one part, each at its own input, and neither overwrites what the other said."""
    infer = infer_of(ring, compared(engine, lambda view: textured.reshape(SHAPE)), anomaly)
    assert not infer.start([tensor_of(ring, 0, textured, (INPUT, INPUT))])
    (prediction,) = infer.finish()
    assert prediction.inputs == (INPUT, INPUT)
    assert said(ring, prediction, 0, OUTPUTS)["map"].max() < 0.01
    found = said(ring, prediction, 1, {"score": (1,), "map": (1, 1, 16, 16)})
    assert found["score"] == pytest.approx(found["map"].mean(), abs=1e-5)
    assert found["score"] > 0.05


def test_a_judge_that_was_refused_the_part_is_left_out(
    ring: Ring, engine: Engine, anomaly: JudgeEngine, textured: np.ndarray
) -> None:
    """The other judges look at it all the same, and on the next part that judge is there again."""
    infer = infer_of(ring, compared(engine, lambda view: textured.reshape(SHAPE)), anomaly)
    for entry, inputs in enumerate(
        [(REFUSED, INPUT), (INPUT, REFUSED), (REFUSED, REFUSED), (INPUT, INPUT)] * 2
    ):
        assert not infer.start([tensor_of(ring, entry, textured, inputs)])
        (prediction,) = infer.finish()
        assert prediction.inputs == inputs
        if inputs[1] == INPUT:
            assert said(ring, prediction, 1, {"score": (1,)})["score"] > 0.05


def test_a_judge_that_fails_takes_no_lane_from_the_others(
    ring: Ring, anomaly: JudgeEngine, constant_bundle: Callable[..., Path], textured: np.ndarray
) -> None:
    """Of a part on which one judge failed there is no prediction, and the next part has one."""
    bundle = read_bundle(constant_bundle(fault="device lost", every=2))
    with open_engine(EngineChoice(), bundle) as failing:
        infer = infer_of(ring, anomaly, JudgeEngine(engine=failing, warper=WARPER))
        for entry in range(8):
            assert not infer.start([tensor_of(ring, entry, textured, (INPUT, INPUT))])
            if entry % 2:
                assert reason(infer) == "engine: device lost"
            else:
                assert judged(infer) == [entry]


def test_a_part_that_one_judge_cannot_begin_with_is_taken_back_from_the_others(
    ring: Ring, anomaly: JudgeEngine, constant_bundle: Callable[..., Path], textured: np.ndarray
) -> None:
    """A judge whose input does not fit its model costs that part, on every judge, and no lane."""
    with open_engine(EngineChoice(), read_bundle(constant_bundle(fault="device lost"))) as failing:
        fit = JudgeEngine(engine=failing, warper=WARPER)
        misfit = JudgeEngine(engine=failing, warper=Warper(None, InputSpec(height=8, width=8)))
        (unknown,) = infer_of(ring, fit, anomaly, misfit).start([tensor_of(ring, 0, textured, (INPUT,) * 3)])
        assert unknown.reason == "engine"
        assert "image: expected" in unknown.detail
        infer = infer_of(ring, fit, anomaly)
        assert not infer.start([tensor_of(ring, 1, textured, (INPUT, INPUT))])
        assert reason(infer) == "engine: device lost"


def test_a_gpu_that_is_lost_over_a_master_ends_the_process(ring: Ring, textured: np.ndarray) -> None:
    """The part is not merely refused: no later one could be judged."""

    def lost(view: str) -> np.ndarray:
        raise EngineLost("the GPU does not answer")

    infer = infer_of(ring, JudgeEngine(engine=_Means(), warper=WARPER, references=lost))  # type: ignore[arg-type]
    with pytest.raises(EngineLost):
        infer.start([tensor_of(ring, 0, textured)])


class _Means:
    """An engine of three samples a lane, whose score is the picture's mean; a picture of zeros breaks it."""

    name, precision, lanes, batch, warps_frames = "means", "fp32", 2, 3, False
    waits = starts_cold = True

    def __init__(self) -> None:
        self.done: set[int] = set()  # lanes that say they are ready
        self.log: list[tuple[int, list[np.ndarray]]] = []  # each lane that was given images, with these
        self.taken: dict[int, list[np.ndarray]] = {}
        self.pinned: list[tuple[int, ...]] = []

    def pin(self, memory: np.ndarray) -> None:
        self.pinned.append(memory.shape)

    def reference(self, master: np.ndarray) -> np.ndarray:
        return master

    def submit(self, lane: int, samples: Sequence[Sample]) -> None:
        self.taken[lane] = [sample.image for sample in samples]
        self.log.append((lane, self.taken[lane]))
        self.warps = [sample.warp for sample in samples]
        self.regions = [sample.region for sample in samples]
        self.slots = [sample.slot for sample in samples]

    def ready(self, lane: int, timeout_s: float = 0.0) -> bool:
        return lane in self.done

    def collect(self, lane: int) -> list[dict[str, np.ndarray]]:
        images = self.taken.pop(lane)
        if not all(image.any() for image in images):
            raise EngineError("a picture of zeros")
        return [{"score": np.array([image.mean()], np.float32)} for image in images]


def test_parts_that_share_a_lane_each_get_their_own_result(ring: Ring, anomaly: JudgeEngine) -> None:
    """Two batches in flight, of three parts and of one: each part's slot holds what was said of its picture."""
    engine = _Means()
    infer = infer_of(ring, JudgeEngine(engine=engine, warper=WARPER), anomaly)  # type: ignore[arg-type]
    assert infer.batch == 1  # of the judge that takes the fewest
    infer = infer_of(ring, JudgeEngine(engine=engine, warper=WARPER))  # type: ignore[arg-type]
    assert engine.pinned[-2:] == [(4, 64 * 64), (4, 8192)]
    tensors = [tensor_of(ring, entry, np.full((64, 64), 10 * (entry + 1), np.uint8)) for entry in range(4)]
    assert not infer.start(tensors[:3])
    assert not infer.start(tensors[3:])
    for wanted in ([0, 1, 2], [3]):
        for entry, prediction in zip(wanted, infer.finish(), strict=True):
            assert prediction.part.entry == entry
            assert said(ring, prediction, 0, {"score": (1,)})["score"] == 10 * (entry + 1)


def test_the_batch_that_is_done_first_is_finished_first(ring: Ring, anomaly: JudgeEngine) -> None:
    """A batch is ready once all judges that look at its parts are; those that were refused it do not count."""
    slow, quick = _Means(), _Means()
    judges = [JudgeEngine(engine=each, warper=WARPER) for each in (slow, quick)]  # type: ignore[arg-type]
    infer = infer_of(ring, *judges)
    white = np.full((64, 64), 200, np.uint8)
    assert not infer.start([tensor_of(ring, 0, white, (INPUT, INPUT))])
    assert not infer.start([tensor_of(ring, 1, white, (REFUSED, INPUT))])
    assert [infer.ready(position) for position in range(2)] == [False, False]
    quick.done = {0, 1}
    assert [infer.ready(position) for position in range(2)] == [False, True]
    (first,) = infer.finish(1)
    assert first.part.entry == 1
    assert not infer.start([tensor_of(ring, 2, white, (REFUSED, REFUSED))])
    assert [infer.ready(position) for position in range(2)] == [False, True]
    slow.done = {0}
    assert infer.ready(0)
    assert [infer.finish()[0].part.entry for _ in range(2)] == [0, 2]


def test_every_lane_is_warm_before_the_first_part(tmp_path: Path) -> None:
    """It has run batches of every size on a frame in the ring, and written to no slot: it may be a part's."""
    ring = Ring.create(tmp_path / "frames", slots=2, frame=96 * 80, tensors=[64 * 64] * 2, outputs=[4] * 2)
    rng = np.random.default_rng(0)
    areas = [
        (area, number)
        for area, count in (("frame", 1), ("tensor", 2), ("outputs", 2))
        for number in range(count)
    ]
    for area, number in areas:
        memory = ring.memory(area, number)  # type: ignore[arg-type]
        memory[:] = rng.integers(0, 256, memory.shape)
    before = [ring.memory(*area).copy() for area in areas]  # type: ignore[arg-type]
    warping, comparing = _Means(), _Means()
    warping.warps_frames = True
    master = np.full(SHAPE, 200, np.uint8)
    references = References(comparing, lambda view: master, 2**20)  # type: ignore[arg-type]
    references.warm(["a", "b"])
    warped = JudgeEngine(engine=warping, warper=WARPER)  # type: ignore[arg-type]
    compared = JudgeEngine(engine=comparing, warper=WARPER, references=references)  # type: ignore[arg-type]
    Infer({"camera": Looks(ring=ring, judges=[warped, compared], frame=(96, 80))}).warm()
    for engine, shape in ((warping, (96, 80)), (comparing, SHAPE)):
        assert [(lane, len(images)) for lane, images in engine.log] == [
            (lane, count) for count in (1, 2, 3) for lane in (0, 1)
        ]
        assert {image.shape for _, images in engine.log for image in images} == {shape}
        assert not engine.taken
    assert np.shares_memory(warping.log[-1][1][0], ring.memory("frame"))
    assert np.shares_memory(comparing.log[-1][1][0], ring.memory("tensor", 1))
    for area, was in zip(areas, before, strict=True):
        assert np.array_equal(ring.memory(*area), was)  # type: ignore[arg-type]


def test_a_judge_without_a_master_is_not_warmed(ring: Ring, engine: Engine, anomaly: JudgeEngine) -> None:
    """It has nothing to compare with yet; the other judges are, and the lanes stay free."""

    def none(view: str) -> np.ndarray:
        raise PartError("view", f"no master for {view}")

    infer = infer_of(ring, compared(engine, none), anomaly)
    infer.warm()
    white = np.full((64, 64), 200, np.uint8)
    assert not infer.start([tensor_of(ring, 0, white, (REFUSED, INPUT))])
    assert judged(infer) == [0]


def test_a_constant_engine_counts_parts_alone(
    ring: Ring, anomaly: JudgeEngine, constant_bundle: Callable[..., Path]
) -> None:
    """It has nothing to warm, and would take a request before the first part for a part: the second fails."""
    white = np.full((64, 64), 200, np.uint8)
    with open_engine(EngineChoice(), read_bundle(constant_bundle(fault="device lost", every=2))) as failing:
        infer = infer_of(ring, JudgeEngine(engine=failing, warper=WARPER), anomaly)
        infer.warm()
        for entry, wanted in enumerate((Prediction, Unknown)):
            assert not infer.start([tensor_of(ring, entry, white, (INPUT, INPUT))])
            (outcome,) = infer.finish()
            assert isinstance(outcome, wanted)


def test_the_step_waits_if_all_engines_do(ring: Ring) -> None:
    """Else the loop asks it again and again."""
    patient, asked = _Means(), _Means()
    asked.waits = False
    judges = [JudgeEngine(engine=each, warper=WARPER) for each in (patient, asked)]  # type: ignore[arg-type]
    assert infer_of(ring, judges[0]).waits
    assert not infer_of(ring, *judges).waits


class _Straight(_Means):
    """Writes outputs straight into the slots, like a GPU, and not before a lane is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.pending: dict[int, Sample] = {}

    def submit(self, lane: int, samples: Sequence[Sample]) -> None:
        (self.pending[lane],) = samples
        self.taken[lane] = [samples[0].image.copy()]

    def ready(self, lane: int, timeout_s: float = 0.0) -> bool:
        return lane not in self.pending

    def work_on(self, lane: int) -> dict[str, np.ndarray]:
        slot = self.pending.pop(lane).slot
        outputs = as_outputs(slot, {"score": (1,)})
        outputs["score"][:] = self.taken.pop(lane)[0].mean()
        return outputs

    def collect(self, lane: int) -> list[dict[str, np.ndarray]]:
        return [self.work_on(lane)]


def test_an_answer_never_comes_after_that_of_the_slots_next_part(ring: Ring) -> None:
    """The slot of a part in work was leased anew: its next part is started when the old answer has come."""
    engine = _Straight()
    infer = infer_of(ring, JudgeEngine(engine=engine, warper=WARPER))  # type: ignore[arg-type]
    old = tensor_of(ring, 0, np.full((64, 64), 10, np.uint8))
    assert not infer.start([old])
    for entry in (1, 2, 3):
        ring.lease(entry, published=entry)
    new = tensor_of(ring, 4, np.full((64, 64), 90, np.uint8))
    assert new.part.slot == old.part.slot
    assert not infer.ready(0)
    assert not infer.start([new])
    assert infer.ready(0)
    assert list(engine.pending) == [1]  # the new part alone
    (prediction,) = infer.finish(1)
    (gone,) = infer.finish(0)
    assert (gone.part.entry, gone.reason) == (0, "overwritten")
    assert said(ring, prediction, 0, {"score": (1,)})["score"] == 90


class _Embeds(_Means):
    def collect(self, lane: int) -> list[dict[str, np.ndarray]]:
        return [{"embedding": np.array([[1, 0]], np.float32)} for _ in self.taken.pop(lane)]


def test_outputs_that_are_joined_or_scored_do_not_go_into_the_slot(ring: Ring) -> None:
    """There, only the joined outputs of all tiles belong, or a matcher's score."""
    engine = _Means()
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


def test_a_part_that_is_gone_leaves_its_company_their_results(ring: Ring) -> None:
    """One of three slots was leased anew before they were started, another one while they were in flight."""
    infer = infer_of(ring, JudgeEngine(engine=_Means(), warper=WARPER))  # type: ignore[arg-type]
    tensors = [tensor_of(ring, entry, np.full((64, 64), entry + 1, np.uint8)) for entry in range(3)]
    ring.lease(3, published=3)  # the last free slot
    ring.lease(4, published=4)  # that of the first part
    (gone,) = infer.start(tensors)
    assert (gone.part.entry, gone.reason) == (0, "overwritten")
    ring.lease(5, published=5)  # that of the second
    lost, judged = infer.finish()
    assert (lost.part.entry, lost.reason) == (1, "overwritten")
    assert isinstance(judged, Prediction)
    assert said(ring, judged, 0, {"score": (1,)})["score"] == 3


def test_an_engine_that_fails_on_a_batch_fails_on_all_of_it(ring: Ring) -> None:
    """None of the parts that shared the lane passes for judged; the next batch is judged."""
    infer = infer_of(ring, JudgeEngine(engine=_Means(), warper=WARPER))  # type: ignore[arg-type]
    tensors = [tensor_of(ring, entry, np.full((64, 64), entry, np.uint8)) for entry in range(3)]
    assert not infer.start(tensors)
    assert [(outcome.part.entry, outcome.reason) for outcome in infer.finish()] == [
        (entry, "engine") for entry in range(3)
    ]
    assert not infer.start(tensors[1:])
    assert judged(infer) == [1, 2]


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
    engine = _Means()
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
    engines, warpers = [_Means() for _ in crops], [Warper(crop, spec) for crop in crops]
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
    engine, warper = _Means(), Warper(None, spec)
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
