"""A part of which a large piece is covered or missing is never judged as if it were whole."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.bundle import read_bundle
from edge.demo import FOLDER
from edge.errors import PartError
from edge.image.register import Registration, Template, register
from edge.judges.judge import Judge, read_line
from edge.render.board import design
from edge.render.photo import BoardPose, master, photograph

SIDE = 203  # of a patch of a tenth of 640x640
PLACES = {
    "upper half": np.s_[:320],
    "left half": np.s_[:, :320],
    "middle third": np.s_[213:427],
    "right third": np.s_[:, 427:],
    "patch in a corner": np.s_[-SIDE:, :SIDE],
    "patch in the middle": np.s_[218 : 218 + SIDE, 218 : 218 + SIDE],
}


def board(number: int, seed: int) -> NDArray[np.uint8]:
    """A good board of the demonstration, as its camera takes it."""
    plan, rng = design(number, 640, 640), np.random.default_rng([41, seed])
    return photograph(plan.art, plan, BoardPose.any(rng), rng)


def demo() -> Judge:
    _, _, (judge,) = read_line(FOLDER / "recipe.toml")
    return judge


def fits(picture: NDArray[np.uint8], number: int) -> Registration:
    """How the demonstration's line registers it; PartError where it is not judged."""
    return register(picture, Template(master(design(number, 640, 640)), demo().preprocess.register))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_covered_board_is_not_judged(place: str, level: int) -> None:
    """Whatever covers a tenth or more of a board, it is unknown, and the reason says so."""
    for number in range(2):
        picture = board(number, level)
        picture[PLACES[place]] = level
        with pytest.raises(PartError) as refused:
            fits(picture, number)
        assert refused.value.reason in ("difference", "registration")


def test_a_whole_board_is_judged() -> None:
    """Good boards keep well within the limits, wherever they lie."""
    limit = demo().preprocess.register.max_difference
    assert limit is not None
    assert max(fits(board(seed % 4, seed), seed % 4).difference.value for seed in range(24)) < 0.7 * limit


def test_the_place_of_the_difference_is_told() -> None:
    """Who reads the verdict knows where to look."""
    picture = board(0, 0)
    picture[100:300, 350:550] = 128
    with pytest.raises(PartError, match=r"round (\d+), (\d+) the part differs") as refused:
        fits(picture, 0)
    x, y = (float(word) for word in refused.value.detail.split(" the ")[0].removeprefix("round ").split(", "))
    assert abs(x - 450) < 60
    assert abs(y - 200) < 60


def test_light_is_no_difference() -> None:
    """Twice the light, or light from one side, changes nothing."""
    picture = board(1, 1)
    plain = fits(picture, 1).difference.value
    darker = np.asarray(cv2.multiply(picture, 0.6), np.uint8)
    slope = np.linspace(-20, 20, 640)
    from_aside = np.clip(picture + slope, 0, 255).astype(np.uint8)
    for changed in (darker, from_aside):
        assert fits(changed, 1).difference.value == pytest.approx(plain, rel=0.25)


@pytest.mark.parametrize(
    ("key", "value"), [("max_difference", 0.01), ("max_residual_px", 0.001)], ids=["difference", "residual"]
)
def test_the_recipe_can_set_the_limits(key: str, value: float) -> None:
    """A recipe's own limit counts, not the bundle's."""
    judge = demo()
    line = judge.recipe
    changed = msgspec.structs.replace(
        line,
        preprocess=msgspec.structs.replace(
            line.preprocess, register=msgspec.structs.replace(line.preprocess.register, **{key: value})
        ),
    )
    limits = replace(judge, recipe=changed).preprocess.register
    assert getattr(limits, key) == value
    with pytest.raises(PartError):
        register(board(0, 3), Template(master(design(0, 640, 640)), limits))


@pytest.mark.parametrize("bundle", ["edge/demo/bundle", "benchmarks/bundles/deeppcb"])
def test_packed_comparators_know_their_limits(bundle: str) -> None:
    """Both bundles that come with the project say how well good boards fit."""
    fit = read_bundle(Path(__file__).parents[3] / bundle).manifest.fit
    assert fit is not None
    assert 0 < fit.difference < 0.5


def test_the_half_black_board_of_the_field_is_not_judged() -> None:
    """A picture that a plant's camera once gave: its lower half is black."""
    data: Any = os.environ.get("EDGE_DATA")
    path = Path(data or "/nowhere").parent / "cases" / "covered" / "lower-half-black.png"
    if not path.is_file():
        pytest.skip("the pictures from the field are not here: set EDGE_DATA")
    picture = np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), np.uint8)
    for number in range(4):
        with pytest.raises(PartError):
            fits(picture, number)
