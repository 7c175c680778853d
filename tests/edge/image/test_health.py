"""What pictures show of camera and lamp: brightness, saturation, sharpness, and repetition."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.image.health import APART, HealthMeter
from edge.render.board import design
from edge.render.photo import BoardPose, photograph

SIZE = 320


def board(number: int = 5, noise: int = 3) -> NDArray[np.uint8]:
    made = design(number, SIZE, SIZE)
    return photograph(made.art, made, BoardPose(dx_px=2.0), np.random.default_rng(noise))


def meter(**changes: object) -> HealthMeter:
    return HealthMeter(**{"crop": None, "bayer": None, "is_live": True, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "blurred",
    [
        pytest.param(lambda picture: cv2.GaussianBlur(picture, (0, 0), 0.8), id="out of focus"),
        pytest.param(lambda picture: cv2.blur(picture, (5, 1)), id="moved sideways"),
        pytest.param(lambda picture: cv2.blur(picture, (1, 5)), id="moved down"),
    ],
)
@pytest.mark.parametrize("light", [1.0, 0.5])
def test_blur_lowers_the_focus_and_light_does_not(blurred, light: float) -> None:
    """A lens that came loose is not mistaken for a lamp that aged, nor the other way round."""
    sharp, dim = meter().measure(board()).focus, (board() * light).astype(np.uint8)
    assert meter().measure(dim).focus == pytest.approx(sharp, rel=0.05)
    assert meter().measure(blurred(dim)).focus < 0.7 * sharp


def test_the_focus_has_the_scale_that_is_written_down() -> None:
    """1 for noise, and the square of the distances for a slope."""
    noise = np.random.default_rng(0).integers(0, 256, (400, 400)).astype(np.uint8)
    slope = np.add.outer(np.arange(100), np.arange(100)).astype(np.uint8)
    assert meter().measure(noise).focus == pytest.approx(1, abs=0.05)
    assert meter().measure(slope).focus == pytest.approx(1 / APART**2)
    assert meter().measure(np.zeros((50, 50), np.uint8)).focus == 0


def test_level_and_saturation_are_those_of_the_pixels() -> None:
    """A quarter of this picture is burnt out."""
    picture = np.full((200, 200), 100, np.uint8)
    picture[:, :50] = 255
    found = meter().measure(picture)
    assert found.saturated == pytest.approx(0.25)
    assert found.level == pytest.approx(100 + 155 / 4)


def test_the_same_picture_is_counted_until_another_one_comes() -> None:
    """One grey level of one pixel, or the noise of a new picture of the same board, makes another picture."""
    one, frames = meter(), [board(), board(), board(), board(noise=4), board(noise=4)]
    assert [one.measure(frame.copy()).repeats for frame in frames] == [0, 1, 2, 0, 1]
    changed = board(noise=4)
    changed[0, 7] ^= 1
    assert one.measure(changed).repeats == 0


def test_a_slot_that_is_used_again_is_no_repetition() -> None:
    """Frames lie in the same memory one after another, and the meter remembers the pixels and not the place."""
    one, slot = meter(), board()
    one.measure(slot)
    slot[:] = board(noise=4)
    assert one.measure(slot).repeats == 0


def test_files_may_repeat_a_picture() -> None:
    """A folder of copies is no frozen camera."""
    one = meter(is_live=False)
    assert [one.measure(board()).repeats for _ in range(3)] == [0, 0, 0]


@pytest.mark.parametrize("shape", [(8, 8), (8, 9, 3), (9, 200), (700, 9), (2050, 31, 3)])
@pytest.mark.parametrize("bayer", [None, "rggb", "gbrg"])
def test_any_size_can_be_measured(shape: tuple[int, ...], bayer: str | None) -> None:
    """Also the smallest frames, odd ones, and frames that are not contiguous in memory."""
    frame = np.random.default_rng(1).integers(0, 256, (shape[0], 2 * shape[1], *shape[2:])).astype(np.uint8)
    found = meter(bayer=bayer if len(shape) == 2 else None).measure(frame[:, ::2])
    assert found.focus > 0
    assert 0 < found.level < 255


def test_only_the_crop_counts() -> None:
    """The belt beside the part may be as bright as it likes."""
    frame = np.zeros((100, 120), np.uint8)
    frame[30:70, 20:60] = 200
    assert meter(crop=(20, 30, 40, 40)).measure(frame).level == 200


@pytest.mark.parametrize("bayer", ["rggb", "grbg", "gbrg", "bggr"])
@pytest.mark.parametrize("start", [(0, 0), (3, 5)])
def test_of_raw_frames_the_green_pixels_count(bayer: str, start: tuple[int, int]) -> None:
    """Neighbours of other colours would look like sharp detail."""
    rows = [bayer[:2], bayer[2:]]
    frame = np.array(
        [[90 if rows[y % 2][x % 2] == "g" else 10 for x in range(60)] for y in range(60)], np.uint8
    )
    found = meter(crop=(*start, 40, 40), bayer=bayer).measure(frame)
    assert (found.level, found.focus) == (90, 0)
