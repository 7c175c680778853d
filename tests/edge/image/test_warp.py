"""One crop, warp and resize, and the way back from a pixel of the model's input to the frame."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.image.warp import Warper
from edge.manifest import InputSpec

WHOLE = None


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)


def smooth(height: int, width: int) -> NDArray[np.uint8]:
    """A picture in which each pixel's value tells where it lies."""
    ys, xs = np.mgrid[:height, :width]
    return (128 + 60 * np.sin(xs / 17) + 60 * np.cos(ys / 13)).round().astype(np.uint8)


def warped(
    frame: NDArray[np.uint8], spec: InputSpec, crop: Any = WHOLE, pose: Any = None, under: Any = None
) -> tuple[NDArray[np.uint8], Any]:
    out = np.full(spec.shape, 77, np.uint8)
    warp = Warper(crop, spec).warp(frame.shape, pose)
    warp.apply(frame, out, under)
    return out, warp.to_frame


def test_pixels_of_the_right_size_are_copied_as_they_are() -> None:
    """Lossless from sensor to model: a picture of the model's size is not resampled."""
    frame = noise(49, 65)
    out, to_frame = warped(frame, InputSpec(height=49, width=65))
    assert np.array_equal(out[0, 0], frame)
    assert to_frame == (1, 0, 0, 0, 1, 0)


def test_a_crop_of_the_right_size_is_copied_as_it_is() -> None:
    """The way back leads to where the crop lies in the frame."""
    frame = noise(100, 120)[:, ::2]
    out, to_frame = warped(frame, InputSpec(height=31, width=40), (7, 11, 40, 31))
    assert np.array_equal(out[0, 0], frame[11:42, 7:47])
    assert to_frame == (1, 0, 7, 0, 1, 11)


def test_a_hundredth_of_a_pixel_is_not_worth_a_blur() -> None:
    """A part that lies nearly whole pixels off keeps its pixels as they were captured."""
    frame = noise(50, 60)
    out, _ = warped(
        frame, InputSpec(height=50, width=60), pose=np.array([[1.0, 1e-4, 3.01], [-1e-4, 1.0, 0.0]])
    )
    assert np.array_equal(out[0, 0, :, :-3], frame[:, 3:])


@pytest.mark.parametrize(("dx", "dy"), [(3, -5), (-2, 4), (0, 7), (60, 0), (200, 200), (-70, 0), (0, -300)])
def test_a_shift_by_whole_pixels_copies_them(dx: int, dy: int) -> None:
    """A part that lies whole pixels off is moved without loss; the master shows where it does not reach."""
    frame, under = noise(50, 60), np.full((1, 1, 50, 60), 9, np.uint8)
    pose = np.array([[1.0, 0, dx], [0, 1.0, dy]])
    out, _ = warped(frame, InputSpec(height=50, width=60), pose=pose, under=under)
    expected = under[0, 0].copy()
    for y in range(50):
        for x in range(60):
            if 0 <= x + dx < 60 and 0 <= y + dy < 50:
                expected[y, x] = frame[y + dy, x + dx]
    assert np.array_equal(out[0, 0], expected)


@pytest.mark.parametrize(
    ("spec", "crop"),
    [
        (InputSpec(height=97, width=131), None),
        (InputSpec(height=150, width=300), (13, 5, 150, 91)),
        (InputSpec(height=40, width=55), (10, 20, 165, 120)),
        (InputSpec(height=60, width=60), None),
    ],
    ids=["slightly smaller", "larger", "a third", "other aspect"],
)
@pytest.mark.parametrize("turned", [False, True])
def test_each_input_pixel_comes_from_where_it_says(spec: InputSpec, crop: Any, turned: bool) -> None:
    """A defect that is found in the input is shown at its place in the frame, however it was warped."""
    frame = smooth(190, 260)
    width, height = (crop or (0, 0, 260, 190))[2:]
    pose = cv2.getRotationMatrix2D((width / 2, height / 2), 2.0, 1.0)
    pose[:, 2] += 3.3, -2.6
    out, (a, b, x0, c, d, y0) = warped(frame, spec, crop, pose=pose if turned else None)
    ys, xs = np.mgrid[8 : spec.height - 8, 8 : spec.width - 8]
    there_x, there_y = a * xs + b * ys + x0, c * xs + d * ys + y0
    expected = 128 + 60 * np.sin(there_x / 17) + 60 * np.cos(there_y / 13)
    left, top, right, bottom = (crop or (0, 0, 260, 190))[0:2] + tuple(
        np.add((crop or (0, 0, 260, 190))[0:2], (width, height))
    )
    inside = (there_x > left + 3) & (there_x < right - 4) & (there_y > top + 3) & (there_y < bottom - 4)
    assert inside.mean() > 0.7
    assert np.abs(out[0, 0][8:-8, 8:-8] - expected)[inside].max() < 6


def test_fine_traces_are_averaged_when_the_picture_shrinks() -> None:
    """Stripes of one pixel become an even grey, not a pattern that is not there."""
    stripes = np.tile(np.array([0, 210, 0], np.uint8), (135, 60))
    out, _ = warped(stripes, InputSpec(height=45, width=60))
    assert np.unique(out).tolist() == [70]


@pytest.mark.parametrize("color", ["bgr", "rgb"])
def test_colours_lie_in_the_models_order(color: Any) -> None:
    """A model that was trained on RGB gets RGB, resampled or not."""
    frame = np.empty((40, 50, 3), np.uint8)
    frame[:] = (10, 120, 240)
    for height in (40, 33):
        out, _ = warped(frame, InputSpec(height=height, width=50, color=color))
        assert [int(plane.mean()) for plane in out[0]] == ([10, 120, 240] if color == "bgr" else [240, 120, 10])


def test_a_grey_model_sees_a_colour_frame_in_grey() -> None:
    """A colour camera can serve a model for grey pictures."""
    frame = noise(40, 50, 3)
    out, _ = warped(frame, InputSpec(height=40, width=50))
    assert np.array_equal(out[0, 0], cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY))


def test_a_colour_model_sees_a_grey_frame_in_each_plane() -> None:
    """A grey camera can serve a model for colour pictures."""
    frame = noise(40, 50)
    for height in (40, 33, 20):
        out, _ = warped(frame, InputSpec(height=height, width=50, color="bgr"))
        assert np.array_equal(out[0, 0], out[0, 1])
        assert np.array_equal(out[0, 0], out[0, 2])


def test_where_the_part_does_not_reach_the_master_shows() -> None:
    """A turned part leaves corners free; what was not seen there raises no alarm."""
    frame, under = np.full((60, 60), 200, np.uint8), np.full((1, 1, 60, 60), 30, np.uint8)
    pose = cv2.getRotationMatrix2D((29.5, 29.5), 10.0, 1.0)
    out, _ = warped(frame, InputSpec(height=60, width=60), pose=pose, under=under)
    assert [int(out[0, 0, y, x]) for y in (0, -1) for x in (0, -1)] == [30, 30, 30, 30]
    assert int(out[0, 0, 30, 30]) == 200


def test_a_part_that_left_the_crop_is_looked_for_in_the_frame() -> None:
    """The crop follows the part; only beyond the frame itself does the master show."""
    frame, under = noise(100, 120), np.full((1, 1, 40, 50), 9, np.uint8)
    out, to_frame = warped(
        frame,
        InputSpec(height=40, width=50),
        (30, 20, 50, 40),
        pose=np.array([[1.0, 0, 12], [0, 1.0, -8]]),
        under=under,
    )
    assert np.array_equal(out[0, 0], frame[12:52, 42:92])
    assert to_frame == (1, 0, 42, 0, 1, 12)


def test_a_registered_part_that_shrinks_is_averaged_too() -> None:
    """Fine traces do not alias either when the part is turned."""
    stripes = np.tile(np.array([0, 210, 0], np.uint8), (135, 60))
    pose = cv2.getRotationMatrix2D((89.5, 67.0), 1.0, 1.0)
    out, _ = warped(stripes, InputSpec(height=45, width=60), pose=pose)
    assert np.unique(out[0, 0, 5:-5, 5:-5]).tolist() == [70]


def test_a_picture_that_shrinks_one_way_is_averaged_that_way() -> None:
    """Fine traces do not alias either in a picture that is made higher at the same time."""
    stripes = np.tile(np.array([0, 210, 0], np.uint8), (30, 60))
    out, _ = warped(stripes, InputSpec(height=45, width=60))
    assert np.unique(out).tolist() == [70]


@pytest.mark.parametrize("dx", [-70, -7, 8, 90])
def test_without_a_master_the_picture_goes_on_as_its_rim(dx: int) -> None:
    """Beyond the frame nothing is made up, by however much the picture is moved."""
    frame = noise(40, 50)
    out, _ = warped(frame, InputSpec(height=40, width=50), pose=np.array([[1.0, 0, dx], [0, 1.0, 0]]))
    assert np.array_equal(out[0, 0], frame[:, np.clip(np.arange(50) + dx, 0, 49)])
