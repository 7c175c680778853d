"""A part is registered to its master to a fraction of a pixel, or refused with a reason."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge import recipe
from edge.errors import PartError
from edge.image.register import Registration, Template, register
from edge.render.board import design
from edge.render.photo import BoardPose, master, photograph

LIMITS = recipe.Register()


def shown(number: int, height: int, width: int, pose: BoardPose) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A master, and a part of that design in a pose."""
    board = design(number, height, width)
    return master(board), photograph(board.art, board, pose, np.random.default_rng(number))


def error_px(found: Registration, pose: BoardPose, height: int, width: int) -> float:
    """How far the corner that is off most lies off."""
    corners = np.array([(x, y, 1) for x in (0, width - 1) for y in (0, height - 1)], float).T
    return float(np.linalg.norm((found.matrix - pose.matrix(height, width)) @ corners, axis=0).max())


@settings(max_examples=40, deadline=None)
@given(
    number=st.integers(100, 130),
    way_px=st.floats(0, 15.5),
    angle=st.floats(0, 6.28),
    rotation_deg=st.floats(-2.9, 2.9),
    size=st.sampled_from([(640, 640), (320, 320), (333, 517), (651, 431)]),
)
def test_a_part_is_found_to_a_fraction_of_a_pixel(
    number: int, way_px: float, angle: float, rotation_deg: float, size: tuple[int, int]
) -> None:
    """Wherever it lies within the limits, no corner is off by more than 0.45 px, and few by more than 0.3."""
    pose = BoardPose(dx_px=way_px * math.cos(angle), dy_px=way_px * math.sin(angle), rotation_deg=rotation_deg)
    flawless, part = shown(number, *size, pose)
    found = register(part, Template(flawless, LIMITS))
    assert error_px(found, pose, *size) < 0.45
    assert found.correlation > 0.9
    assert found.shift_px == pytest.approx(way_px, abs=0.3)
    assert found.rotation_deg == pytest.approx(-rotation_deg, abs=0.05)


def test_the_error_is_mostly_far_below_a_third_of_a_pixel() -> None:
    """Over thirty boards the middle error of the worst corner is below 0.15 px."""
    errors = []
    for number in range(200, 230):
        pose = BoardPose.any(np.random.default_rng(number))
        flawless, part = shown(number, 320, 320, pose)
        errors.append(error_px(register(part, Template(flawless, LIMITS)), pose, 320, 320))
    assert np.median(errors) < 0.15


def test_the_master_itself_lies_in_its_place() -> None:
    """A part that is its master is not moved."""
    flawless, _ = shown(1, 320, 320, BoardPose())
    found = register(flawless, Template(flawless, LIMITS))
    assert np.abs(found.matrix - [[1, 0, 0], [0, 1, 0]]).max() < 1e-4
    assert found.correlation == pytest.approx(1, abs=1e-5)
    assert found.residual_px < 0.01


def test_a_view_on_a_larger_picture_is_registered_alike() -> None:
    """A crop is a view with gaps between its rows; that makes no difference."""
    flawless, part = shown(2, 321, 333, BoardPose(dx_px=4.0, dy_px=-3.0))
    view = np.zeros((400, 700), np.uint8)[30 : 30 + 321, 20 : 20 + 2 * 333 : 2]
    view[:] = part
    template = Template(flawless, LIMITS)
    assert np.array_equal(register(view, template).matrix, register(part, template).matrix)


@pytest.mark.parametrize("number", [114, 125, 162])
def test_light_does_not_move_the_part(number: int) -> None:
    """A weaker lamp that shines from the side moves nothing and costs no correlation."""
    pose = BoardPose(dx_px=3.3, dy_px=-5.7, rotation_deg=0.4)
    flawless, part = shown(number, 320, 320, pose)
    lamp = np.linspace(0.5, 1.1, 320)[:, np.newaxis]
    for light in (lamp, lamp.T):
        found = register((part * light).astype(np.uint8), Template(flawless, LIMITS))
        assert error_px(found, pose, 320, 320) < 0.25
        assert found.correlation > 0.95


def bus(height: int, width: int) -> NDArray[np.uint8]:
    """Thin parallel traces, every one like its neighbours, with vias at their ends."""
    picture = np.full((height, width), 60, np.uint8)
    for x in range(30, width - 30, 14):
        cv2.line(picture, (x, 40), (x, height - 40), 200, 5)
        cv2.circle(picture, (x, 40), 6, 200, -1)
        cv2.circle(picture, (x, height - 40), 6, 200, -1)
    return picture


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (5, 3), (8, -10), (-13, 6)])
def test_a_bus_is_not_laid_onto_its_neighbours(dx: int, dy: int) -> None:
    """Traces at every 14 px look alike when shifted by 14 px; only the true shift is found."""
    flawless = bus(360, 420)
    part = np.roll(flawless, (dy, dx), (0, 1))
    found = register(part, Template(flawless, LIMITS))
    assert found.matrix[:, 2] == pytest.approx([dx, dy], abs=0.3)


def test_what_the_master_does_not_show_is_not_guessed() -> None:
    """Along traces that run through the whole picture no shift can be seen, so none is found."""
    flawless = np.full((320, 320), 60, np.uint8)
    for x in (50, 101, 190, 260):
        flawless[:, x : x + 9] = 200
    rng = np.random.default_rng(0)
    part, flawless = (
        (picture + rng.integers(0, 20, picture.shape)).astype(np.uint8)
        for picture in (np.roll(flawless, 5, 1), flawless)
    )
    found = register(part, Template(flawless, LIMITS))
    assert found.matrix[:, 2] == pytest.approx([5, 0], abs=0.4)


def test_a_part_that_does_not_fit_everywhere_shows_a_residual() -> None:
    """A board that is bent, which no shift or turn explains, is told by its worst quarter."""
    flawless, _ = shown(4, 320, 320, BoardPose())
    bent, template = flawless.copy(), Template(flawless, LIMITS)
    bent[160:, 160:] = np.roll(flawless, 2, 1)[160:, 160:]
    assert register(bent, template).residual_px > 0.8
    assert register(flawless, template).residual_px < 0.05


@pytest.mark.parametrize(
    ("pose", "told"),
    [
        (BoardPose(dx_px=12.0, dy_px=12.0), r"lies 1[67]\.\d px off its place, more than 16"),
        (BoardPose(rotation_deg=3.6), r"turned by -3\.\d degrees, more than 3"),
    ],
    ids=["too far", "too much turned"],
)
def test_a_part_beyond_the_limits_is_refused(pose: BoardPose, told: str) -> None:
    """The text says how far the part lies off and how far it may."""
    flawless, part = shown(5, 640, 640, pose)
    with pytest.raises(PartError, match=told) as caught:
        register(part, Template(flawless, LIMITS))
    assert caught.value.reason == "registration"


def others() -> dict[str, NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    flawless, _ = shown(6, 320, 320, BoardPose())
    return {
        "another design": shown(7, 320, 320, BoardPose())[0],
        "noise": rng.integers(0, 255, (320, 320)).astype(np.uint8),
        "one grey": np.full((320, 320), 90, np.uint8),
        "the negative": 255 - flawless,
        "turned by 90 degrees": np.ascontiguousarray(np.rot90(flawless)),
    }


@pytest.mark.parametrize("name", others())
def test_another_picture_than_the_part_is_refused(name: str) -> None:
    """What does not look like the master is never registered to it."""
    flawless, _ = shown(6, 320, 320, BoardPose())
    with pytest.raises(PartError, match=r"correlation with its master is -?[\d.]+, below 0\.5"):
        register(others()[name], Template(flawless, LIMITS))


def test_a_picture_of_another_size_is_refused() -> None:
    """Sizes are told, expected and found."""
    with pytest.raises(PartError, match=r"expected a picture of \(64, 64\), found \(64, 65\)"):
        register(np.zeros((64, 65), np.uint8), Template(bus(64, 64), LIMITS))


@pytest.mark.parametrize(
    ("motion", "pose", "turned", "shifted"),
    [
        ("none", BoardPose(dx_px=1.0), False, False),
        ("shift", BoardPose(dx_px=6.5, dy_px=-3.0), False, True),
        ("rigid", BoardPose(dx_px=6.5, rotation_deg=1.0), True, True),
    ],
)
def test_only_the_motion_of_the_recipe_is_allowed(
    motion: Any, pose: BoardPose, turned: bool, shifted: bool
) -> None:
    """A fixture that cannot turn a part is not corrected by a turn."""
    flawless, part = shown(8, 320, 320, pose)
    found = register(part, Template(flawless, recipe.Register(motion=motion)))
    assert (found.rotation_deg != 0) == turned
    assert (found.shift_px > 3) == shifted
    if motion != "none":
        assert error_px(found, pose, 320, 320) < 0.45


@pytest.mark.parametrize("size", [(8, 8), (17, 40), (64, 64), (129, 1000)])
def test_small_and_odd_sizes_are_registered(size: tuple[int, int]) -> None:
    """A picture of a few pixels lies in its place too."""
    flawless = np.random.default_rng(1).integers(0, 255, size).astype(np.uint8)
    found = register(flawless, Template(flawless, LIMITS))
    assert np.abs(found.matrix - [[1, 0, 0], [0, 1, 0]]).max() < 0.05
