"""A frame becomes the model's input, registered to its master, or is refused with a reason."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from parts import part_of

from edge.errors import PartError
from edge.image.health import HealthMeter
from edge.image.masters import Masters
from edge.image.prepare import Preparer
from edge.image.warp import Warper
from edge.manifest import InputSpec
from edge.memory.ring import Ring, as_image
from edge.messages import Frame, Input, Refused, Tensor, Unknown
from edge.recipe import Preprocess
from edge.render.board import design
from edge.render.photo import BoardPose, master, photograph
from edge.stages.preprocess import PreprocessStep

SIZE = 320
SPEC = InputSpec(height=SIZE, width=SIZE)


def preparer(spec: InputSpec = SPEC, preprocess: Preprocess | None = None, colour: bool = False) -> Preparer:
    """For boards of design 5."""
    flawless = master(design(5, SIZE, SIZE), colour=colour)
    preprocess = preprocess or Preprocess()
    return Preparer(preprocess, spec, Masters(lambda view: (flawless, view), preprocess, spec, flawless.shape))


def part(pose: BoardPose, *, colour: bool = False) -> NDArray[np.uint8]:
    board = design(5, SIZE, SIZE)
    return photograph(board.art, board, pose, np.random.default_rng(3), colour=colour)


@settings(max_examples=15, deadline=None)
@given(dx=st.floats(-10, 10), dy=st.floats(-10, 10), rotation_deg=st.floats(-2.5, 2.5))
def test_a_good_board_looks_like_its_master_wherever_it_lies(dx: float, dy: float, rotation_deg: float) -> None:
    """Once prepared, no place of it differs clearly from the master, so nothing of it looks like a defect."""
    out = np.empty(SPEC.shape, np.uint8)
    preparer().prepare(part(BoardPose(dx_px=dx, dy_px=dy, rotation_deg=rotation_deg)), "a", out)
    flawless = master(design(5, SIZE, SIZE)).astype(float)
    light = cv2.GaussianBlur(out[0, 0].astype(float), (0, 0), 25) / cv2.GaussianBlur(flawless, (0, 0), 25)
    differs = np.abs(out[0, 0] - flawless * light) > 40
    assert cv2.morphologyEx(differs.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)).sum() == 0


@pytest.mark.parametrize("spec", [SPEC, InputSpec(height=128, width=128), InputSpec(height=200, width=176)])
@pytest.mark.parametrize("crop", [None, (40, 30, 240, 250)])
def test_a_place_in_the_input_is_found_in_the_frame(
    spec: InputSpec, crop: tuple[int, int, int, int] | None
) -> None:
    """What is marked in the frame is seen in the input just there where the transform says."""
    frame = part(BoardPose(dx_px=5.0, dy_px=-4.0, rotation_deg=1.5))
    cv2.circle(frame, (170, 140), 6, 255, -1)
    cv2.circle(frame, (170, 140), 3, 0, -1)
    plain = part(BoardPose(dx_px=5.0, dy_px=-4.0, rotation_deg=1.5))
    outs = [np.empty(spec.shape, np.uint8) for _ in range(2)]
    one = preparer(spec, Preprocess(crop=crop))
    prepared = one.prepare(frame, "a", outs[0])
    one.prepare(plain, "a", outs[1])
    marked = cv2.absdiff(outs[0][0, 0], outs[1][0, 0]) > 30
    y, x = (float(places.mean()) for places in np.nonzero(marked))
    a, b, left, c, d, top = prepared.to_frame
    assert a * x + b * y + left == pytest.approx(170, abs=1.5)
    assert c * x + d * y + top == pytest.approx(140, abs=1.5)


def test_the_residual_says_how_well_the_part_lies() -> None:
    """It stands in every verdict, so a fixture that wears out is seen before it costs parts."""
    prepared = preparer().prepare(part(BoardPose(dx_px=3.0)), "a", np.empty(SPEC.shape, np.uint8))
    assert 0 < prepared.registration_px < 0.5


@pytest.mark.parametrize("frame", [np.zeros((SIZE, SIZE), np.uint8), np.full((SIZE, SIZE), 255, np.uint8)])
@pytest.mark.parametrize("with_master", [True, False])
def test_a_picture_without_light_is_dark_not_good(frame: NDArray[np.uint8], with_master: bool) -> None:
    """A lamp that is out or a shutter that stuck never passes a part."""
    one = preparer() if with_master else Preparer(Preprocess(), SPEC, None)
    with pytest.raises(PartError, match="contrast is 0 grey levels, expected at least 8") as caught:
        one.prepare(frame, "a", np.empty(SPEC.shape, np.uint8))
    assert caught.value.reason == "dark"


def test_a_few_hot_pixels_are_no_light() -> None:
    """A sensor's defects do not hide that the lamp is out."""
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 5, (SIZE, SIZE)).astype(np.uint8)
    frame[rng.integers(0, SIZE, 200), rng.integers(0, SIZE, 200)] = 255
    with pytest.raises(PartError, match="check lamp and shutter"):
        preparer().prepare(frame, "a", np.empty(SPEC.shape, np.uint8))


def test_without_masters_the_picture_is_only_warped() -> None:
    """A model that compares with nothing gets the picture as it is."""
    frame, out = part(BoardPose(dx_px=3.3)), np.empty(SPEC.shape, np.uint8)
    prepared = Preparer(Preprocess(), SPEC, None).prepare(frame, "any", out)
    assert np.array_equal(out[0, 0], frame)
    assert prepared.registration_px is None


@pytest.mark.parametrize("color", ["gray", "bgr"])
def test_colour_frames_are_registered_too(color: str) -> None:
    """A colour frame is registered to its colour master, for models of either kind."""
    spec = InputSpec(height=SIZE, width=SIZE, color=color)  # type: ignore[arg-type]
    pose = BoardPose(dx_px=6.0, dy_px=-3.0, rotation_deg=1.0)
    out, grey_out = np.empty(spec.shape, np.uint8), np.empty(SPEC.shape, np.uint8)
    colour = preparer(spec, colour=True).prepare(part(pose, colour=True), "a", out)
    grey = preparer().prepare(part(pose), "a", grey_out)
    assert colour.to_frame == pytest.approx(grey.to_frame, abs=0.3)


def test_another_product_is_not_registered_to_the_master() -> None:
    """A wrong part on the belt becomes unknown."""
    with pytest.raises(PartError) as caught:
        preparer().prepare(master(design(6, SIZE, SIZE)), "a", np.empty(SPEC.shape, np.uint8))
    assert caught.value.reason == "registration"


SMALL = InputSpec(height=80, width=80)


def no_master(view: str) -> tuple[NDArray[np.uint8], str]:
    raise PartError("view", f"no master for view {view!r}")


#: A comparator for design 5, one without masters, and a model that compares with nothing.
COMPARATOR = preparer()
MASTERLESS = Preparer(Preprocess(), SPEC, Masters(no_master, Preprocess(), SPEC, (SIZE, SIZE)))
ALONE = Preparer(Preprocess(crop=(100, 80, 160, 160)), SMALL, None)


class Slot:
    """A frame in a slot of a real ring, and the step over it."""

    def __init__(self, folder: Path, frame: NDArray[np.uint8], *preparers: Preparer) -> None:
        sizes = [int(np.prod(one.shape)) for one in preparers]
        self.ring = Ring.create(
            folder / "ring", slots=1, frame=frame.nbytes, tensors=sizes, outputs=[4] * len(sizes)
        )
        slot, generation = self.ring.lease(0, published=0)
        part = part_of(0, slot=slot, generation=generation)
        with self.ring.area(part, "frame") as area:
            as_image(area, frame.shape)[:] = frame
        self.frame = Frame(part=part, shape=frame.shape, done_ns={"capture": 1})
        self.step = PreprocessStep(self.ring, preparers)

    def tensor(self, number: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        with self.ring.area(self.frame.part, "tensor", number) as area:
            return as_image(area, shape).copy()


def test_each_judge_gets_the_input_that_it_takes(tmp_path: Path) -> None:
    """One frame, registered to its master for one judge, and cropped and made smaller for another."""
    frame = part(BoardPose(dx_px=4.0))
    slot = Slot(tmp_path, frame, COMPARATOR, ALONE)
    assert not slot.step.start([slot.frame])
    (done,) = slot.step.finish()
    assert (done.part, done.done_ns) == (slot.frame.part, {"capture": 1})
    compared, alone = done.inputs
    assert isinstance(compared, Input)
    assert isinstance(alone, Input)
    assert compared.registration_px > 0
    assert (alone.registration_px, alone.to_frame) == (None, pytest.approx((2, 0, 100.5, 0, 2, 80.5)))
    small = np.empty(SMALL.shape, np.uint8)
    ALONE.prepare(frame, "a", small)
    assert np.array_equal(slot.tensor(1, SMALL.shape), small)
    assert np.abs(slot.tensor(0, SPEC.shape).astype(int) - frame).max() > 50


def test_a_judge_that_cannot_look_leaves_the_part_to_the_others(tmp_path: Path) -> None:
    """Another product does not fit the comparator's master; whoever compares with nothing looks at it."""
    slot = Slot(tmp_path, master(design(6, SIZE, SIZE)), COMPARATOR, ALONE)
    assert not slot.step.start([slot.frame])
    refused, judged = slot.step.finish()[0].inputs
    assert isinstance(judged, Input)
    assert isinstance(refused, Refused)
    assert refused.reason == "registration"
    assert refused.detail


def test_a_part_that_no_judge_can_look_at_goes_no_further(tmp_path: Path) -> None:
    """Without light it is unknown at once, for that reason."""
    slot = Slot(tmp_path, np.zeros((SIZE, SIZE), np.uint8), COMPARATOR, ALONE)
    (unknown,) = slot.step.start([slot.frame])
    assert (unknown.part, unknown.reason) == (slot.frame.part, "dark")


def test_judges_that_refuse_a_part_for_different_reasons_all_have_their_say(tmp_path: Path) -> None:
    """So that a recipe that lets parts through for one of the reasons does not let this one through."""
    slot = Slot(tmp_path, master(design(6, SIZE, SIZE)), MASTERLESS, COMPARATOR)
    assert not slot.step.start([slot.frame])
    assert [getattr(one, "reason", None) for one in slot.step.finish()[0].inputs] == ["view", "registration"]


@pytest.mark.parametrize("pose", [BoardPose(), BoardPose(dx_px=7.3, dy_px=-4.1, rotation_deg=1.2)])
def test_a_frame_that_is_left_to_the_engine_is_only_measured(tmp_path: Path, pose: BoardPose) -> None:
    """The slot's input stays untouched, and the transform warps the frame just as preprocess would have."""
    frame = part(pose)
    slot = Slot(tmp_path, frame, COMPARATOR, ALONE)
    slot.step = PreprocessStep(slot.ring, [COMPARATOR, ALONE], lambda: (True, False))
    assert not slot.step.start([slot.frame])
    left, done = slot.step.finish()[0].inputs
    assert isinstance(left, Input)
    assert isinstance(done, Input)
    assert (left.in_slot, done.in_slot) == (False, True)
    assert not slot.tensor(0, SPEC.shape).any()
    wanted, found = np.empty(SPEC.shape, np.uint8), np.empty(SPEC.shape, np.uint8)
    said = COMPARATOR.prepare(frame, "a", wanted)
    assert (left.to_frame, left.registration_px) == (said.to_frame, said.registration_px)
    under = np.ascontiguousarray(master(design(5, SIZE, SIZE))[None, None])
    Warper(None, SPEC).warp_by(frame.shape, left.to_frame).apply(frame, found, under)
    assert np.array_equal(found, wanted)


def test_a_frame_that_is_left_to_the_engine_may_be_refused(tmp_path: Path) -> None:
    """Without light it goes no further, whoever would have warped it."""
    slot = Slot(tmp_path, np.zeros((SIZE, SIZE), np.uint8), COMPARATOR)
    slot.step = PreprocessStep(slot.ring, [COMPARATOR], lambda: (True,))
    (unknown,) = slot.step.start([slot.frame])
    assert unknown.reason == "dark"


def frozen_step(slot: Slot, frozen_after: int) -> PreprocessStep:
    live = HealthMeter(None, None, is_live=True)
    return PreprocessStep(slot.ring, [COMPARATOR], meter=live, frozen_after=frozen_after)


def outcome(step: PreprocessStep, frame: Frame) -> Tensor | Unknown:
    refused = step.start([frame])
    return refused[0] if refused else step.finish()[0]


@pytest.mark.parametrize(("frozen_after", "passed"), [(1, 1), (3, 3), (0, 5)])
def test_a_frozen_camera_judges_no_part(tmp_path: Path, frozen_after: int, passed: int) -> None:
    """A camera that sends its last picture again and again shows no part that passes it now."""
    slot = Slot(tmp_path, part(BoardPose()), COMPARATOR)
    step = frozen_step(slot, frozen_after)
    found = [outcome(step, slot.frame) for _ in range(5)]
    assert [isinstance(one, Tensor) for one in found] == [True] * passed + [False] * (5 - passed)
    assert {one.reason for one in found[passed:]} <= {"frozen"}
    assert [one.health.repeats for one in found] == [0, 1, 2, 3, 4]


def test_a_lamp_that_is_out_is_no_frozen_camera(tmp_path: Path) -> None:
    """Black pictures are alike, and yet what fails is the light."""
    slot = Slot(tmp_path, np.zeros((SIZE, SIZE), np.uint8), COMPARATOR)
    step = frozen_step(slot, 1)
    found = [outcome(step, slot.frame) for _ in range(2)]
    assert [(one.reason, one.health.level) for one in found] == [("dark", 0), ("dark", 0)]


def test_health_and_pose_go_with_the_part(tmp_path: Path) -> None:
    """They are measured once, and the pose is the one that registration found."""
    frame = part(BoardPose(dx_px=5.0, dy_px=-3.0, rotation_deg=1.0))
    slot = Slot(tmp_path, frame, ALONE, COMPARATOR)
    found = outcome(slot.step, slot.frame)
    assert found.health is not None
    assert found.health.level == pytest.approx(float(frame.mean()), abs=3)
    assert found.health.shift_px == pytest.approx((5, -3), abs=0.3)
    assert abs(found.health.rotation_deg) == pytest.approx(1, abs=0.05)
