"""Masters are found by view, and one that does not fit the line is told before it is compared with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.bundle import Bundle, read_bundle
from edge.errors import PartError, RecipeError
from edge.image.masters import Masters
from edge.judges.judge import judge_of, pictures_of
from edge.manifest import InputSpec
from edge.recipe import Preprocess, Recipe, Synthetic

SPEC = InputSpec(height=48, width=60)


def picture(seed: int, height: int = 64, width: int = 64, *channels: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 255, (height, width, *channels)).astype(np.uint8)


def line(masters: Path | str = "", **source: Any) -> Recipe:
    return Recipe(
        line="l", bundle="b", masters=str(masters), source=Synthetic(**{"width": 64, "height": 64, **source})
    )


def masters_of(recipe: Recipe, bundle: Bundle) -> Masters | None:
    """Of the line's one judge."""
    return judge_of(recipe, recipe.judges[0], bundle).masters()


def test_the_bundle_brings_its_own_masters(tiny_bundle: Path) -> None:
    """Without a folder of masters in the recipe, those that the model was packed with are used."""
    bundle = read_bundle(tiny_bundle)
    masters = masters_of(line(), bundle)
    assert masters
    assert np.array_equal(masters.get("a").input[0, 0], bundle.master("a"))


def test_the_recipes_masters_go_before_the_bundles(tiny_bundle: Path, tmp_path: Path) -> None:
    """An engineer can take new masters without packing the bundle anew."""
    cv2.imwrite(str(tmp_path / "a.png"), picture(5))
    masters = masters_of(line(tmp_path / "{view}.png"), read_bundle(tiny_bundle))
    assert masters
    assert np.array_equal(masters.get("a").input[0, 0], picture(5))


def test_a_grey_master_that_was_saved_in_colour_is_grey(tiny_bundle: Path, tmp_path: Path) -> None:
    """A master that some tool wrote with three equal channels is taken for what it is, as frames are."""
    cv2.imwrite(str(tmp_path / "a.png"), cv2.cvtColor(picture(5), cv2.COLOR_GRAY2BGR))
    masters = masters_of(line(tmp_path / "{view}.png"), read_bundle(tiny_bundle))
    assert masters
    assert np.array_equal(masters.get("a").input[0, 0], picture(5))


def test_a_model_without_masters_needs_none(constant_bundle: Any) -> None:
    """A method that compares with nothing is not asked for masters."""
    assert masters_of(line(), read_bundle(constant_bundle())) is None


@pytest.mark.parametrize("view", ["c", "", "../a", "/etc/passwd"])
@pytest.mark.parametrize("own", [True, False], ids=["of the recipe", "of the bundle"])
def test_a_view_without_a_master_makes_the_part_unknown(
    tiny_bundle: Path, tmp_path: Path, view: str, own: bool
) -> None:
    """A view that nobody taught is no reason to stop the line, and no way out of the masters' folder."""
    (tmp_path / "masters").mkdir()
    cv2.imwrite(str(tmp_path / "a.png"), picture(0))
    recipe = line(tmp_path / "masters" / "{view}.png" if own else "")
    masters = masters_of(recipe, read_bundle(tiny_bundle))
    assert masters
    with pytest.raises(PartError, match="no master for view") as caught:
        masters.get(view)
    assert caught.value.reason == "view"


@pytest.mark.parametrize(
    ("stored", "source", "told"),
    [
        (
            picture(0, 64, 70),
            {},
            "expected a master of 64x64 gray, like the frames of .source., found 70x64 gray",
        ),
        (
            picture(0, 64, 64, 3),
            {},
            "expected a master of 64x64 gray, like the frames of .source., found 64x64 bgr",
        ),
        (
            picture(0),
            {"color": "bgr"},
            "expected a master of 64x64 bgr, like the frames of .source., found 64x64 gray",
        ),
        (np.full((64, 64), 90, np.uint8), {}, "shows nothing that a part could be registered to"),
        (picture(0).astype(np.uint16), {}, "expected 8 bits a channel"),
    ],
    ids=["another size", "colour", "grey", "blank", "16 bits"],
)
def test_a_master_that_does_not_fit_is_named(
    tiny_bundle: Path, tmp_path: Path, stored: np.ndarray[Any, Any], source: dict[str, Any], told: str
) -> None:
    """The error names the file and both sizes and colours."""
    cv2.imwrite(str(tmp_path / "a.png"), stored)
    masters = masters_of(line(tmp_path / "{view}.png", **source), read_bundle(tiny_bundle))
    assert masters
    with pytest.raises(RecipeError, match=f"a.png: .*{told}"):
        masters.get("a")


def test_a_file_that_is_no_picture_is_named(tiny_bundle: Path, tmp_path: Path) -> None:
    """A text file with a picture's name is told."""
    (tmp_path / "a.png").write_text("no picture")
    masters = masters_of(line(tmp_path / "{view}.png"), read_bundle(tiny_bundle))
    assert masters
    with pytest.raises(RecipeError, match=r"a\.png: expected a picture"):
        masters.get("a")


def test_a_master_is_laid_out_like_a_part() -> None:
    """Cropped and resized alike, a part that is its master makes the very same input."""
    from edge.image.prepare import Preparer

    preprocess, frame = Preprocess(crop=(3, 7, 55, 44)), picture(0)
    masters = Masters(lambda view: (frame, view), preprocess, SPEC, frame.shape)
    out = np.empty(SPEC.shape, np.uint8)
    Preparer(preprocess, SPEC, masters).prepare(frame, "a", out)
    assert masters.get("a").input.shape == SPEC.shape
    assert np.abs(masters.get("a").input.astype(int) - out).max() <= 1


def test_memory_is_bounded_and_the_least_used_goes_first() -> None:
    """A line with more views than fit keeps those in use and reads the others again."""
    read: list[str] = []

    def picture_of(view: str) -> tuple[np.ndarray[Any, Any], str]:
        read.append(view)
        return picture(len(view)), view

    masters = Masters(picture_of, Preprocess(), SPEC, (64, 64), kept=2)
    for view in ("a", "b", "a", "c", "a", "b"):
        masters.get(view)
    assert read == ["a", "b", "c", "b"]


def test_a_master_that_has_changed_since_the_start_is_none(tiny_bundle: Path, tmp_path: Path) -> None:
    """Wherever it is read anew; one that came since then is taken."""
    for name in "ab":
        cv2.imwrite(str(tmp_path / f"{name}.png"), picture(0))
    recipe = line(tmp_path / "{view}.png")
    judge = judge_of(recipe, recipe.judges[0], read_bundle(tiny_bundle))
    masters = replace(judge, pictures=pictures_of((judge,))).masters()
    assert masters
    masters.get("a")
    for name in "abc":
        cv2.imwrite(str(tmp_path / f"{name}.png"), picture(1))
    masters.get("a")  # kept ready as it was
    masters.get("c")
    with pytest.raises(PartError, match=r"b\.png: has changed since the line was started"):
        masters.get("b")
