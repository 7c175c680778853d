"""What a mask covers is never seen by a model: it is painted flat, in boards and masters alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from bundles import altered

from edge.bundle import describe, read_bundle, write_manifest
from edge.errors import BundleError, PartError, RecipeError
from edge.image.ignore import at_input, in_cells, mask_of
from edge.image.masters import Masters
from edge.image.prepare import Preparer
from edge.image.register import Template, register
from edge.image.warp import FLAT, Warper
from edge.judges.judge import Judge, read_judges
from edge.manifest import File, InputSpec
from edge.manifest_file import parse_manifest
from edge.recipe import JudgeChoice, Preprocess, Recipe, Synthetic
from edge.render.board import MARGIN, Design, design
from edge.render.photo import BoardPose, master, photograph

SIZE = 320
SPEC = InputSpec(height=SIZE, width=SIZE)


def written(path: Path, mask: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), mask.astype(np.uint8) * 255)
    return path


@pytest.mark.parametrize("color", ["gray", "bgr", "rgb"])
@pytest.mark.parametrize("size", [(64, 64), (40, 56), (100, 130)])
def test_no_pixel_under_a_mask_reaches_the_model(color: Any, size: tuple[int, int]) -> None:
    """However the frame is scaled: two frames that differ only there give the same input."""
    rng, spec = np.random.default_rng(0), InputSpec(height=size[0], width=size[1], color=color)
    frames = rng.integers(0, 256, (2, 80, 100, 3), np.uint8)
    mask = np.zeros((80, 100), bool)
    mask[13:30, 21:48] = True
    frames[1][~mask] = frames[0][~mask]
    ignored = at_input(mask, spec)
    outs = [np.empty(spec.shape, np.uint8) for _ in frames]
    for frame, out in zip(frames, outs, strict=True):
        Warper(None, spec, ignored=ignored).warp(frame.shape).apply(frame, out)
    assert np.array_equal(*outs)
    assert (outs[0][:, :, ignored] == FLAT).all()
    share, wanted = ignored.mean(), mask.mean()
    assert wanted <= share < 1.35 * wanted


def test_what_is_not_black_is_ignored() -> None:
    """In grey and in colours."""
    grey = np.array([[0, 1, 255]], np.uint8)
    colour = np.zeros((1, 3, 3), np.uint8)
    colour[0, 2, 2] = 9
    assert mask_of(grey).tolist() == [[False, True, True]]
    assert mask_of(colour).tolist() == [[False, False, True]]


def test_a_cell_is_ignored_if_all_of_it_is() -> None:
    """A defect at the edge of a mask still has its cell."""
    mask = np.zeros((8, 12), bool)
    mask[:4, 3:8] = True
    assert in_cells(mask, 4).tolist() == [[False, True, False], [False, False, False]]


LABEL = np.s_[60:180, 150:290]


def labelled(plan: Design, seed: int) -> Design:
    """A board with a printed label, each with a text of its own."""
    art, blocks = plan.art.copy(), np.random.default_rng(seed).integers(0, 2, (6, 7)) * 235
    art[MARGIN:, MARGIN:][LABEL] = np.kron(blocks, np.ones((20, 20)))
    return replace(plan, art=art)


def test_a_label_does_not_move_a_board_or_make_it_another_product() -> None:
    """With the label ignored a board lies as it does without one, and differs as little from its master."""
    plan, pose = design(5, SIZE, SIZE), BoardPose(dx_px=5.3, dy_px=-3.2, rotation_deg=1.1)
    flawless = master(plan)
    bare = photograph(plan.art, plan, pose, np.random.default_rng(3))
    moved = photograph(labelled(plan, 2).art, plan, pose, np.random.default_rng(3))
    ignored = np.zeros((SIZE, SIZE), bool)
    ignored[LABEL] = True
    wanted = register(bare, Template(flawless, Preprocess().register))
    other = master(labelled(plan, 1))
    found = register(moved, Template(other, Preprocess().register, ignored))
    corners = np.array([(x, y, 1) for x in (0, SIZE) for y in (0, SIZE)], float).T
    apart = np.linalg.norm((found.matrix - wanted.matrix) @ corners, axis=0)
    assert apart.max() < 0.5
    assert found.difference.value < 1.5 * wanted.difference.value
    with pytest.raises(PartError, match="another product"):
        register(moved, Template(other, Preprocess().register))


def test_board_and_master_are_painted_alike_wherever_the_board_lies() -> None:
    """The mask is drawn on the master, so it follows the board; the label is seen in neither."""
    plan = design(5, SIZE, SIZE)
    flawless = master(labelled(plan, 1))
    ignored = np.zeros((SIZE, SIZE), bool)
    ignored[LABEL] = True
    masters = Masters(lambda view: (flawless, view), Preprocess(), SPEC, flawless.shape, ignored=ignored)
    out = np.empty(SPEC.shape, np.uint8)
    pose = BoardPose(dx_px=7.0, dy_px=4.0, rotation_deg=-1.0)
    board = photograph(labelled(plan, 2).art, plan, pose, np.random.default_rng(3))
    Preparer(Preprocess(), SPEC, masters, ignored=ignored).prepare(board, "a", out)
    shown = masters.get("a").input
    assert (out[0, 0][ignored] == FLAT).all()
    assert (shown[0, 0][ignored] == FLAT).all()
    assert np.median(np.abs(out[0, 0].astype(int) - shown[0, 0])[~ignored]) < 12


def judge(bundle: Path, mask: Path | str = "", **more: Any) -> Judge:
    choice = JudgeChoice(name="one", bundle=str(bundle), ignore=str(mask), **more)
    (found,) = read_judges(Recipe(line="l", judge=(choice,), source=Synthetic(width=96, height=80)))
    return found


@pytest.fixture
def mask() -> np.ndarray:
    """Over a crop of 64x64."""
    mask = np.zeros((64, 64), bool)
    mask[8:24, 16:40] = True
    return mask


@pytest.fixture
def masked_bundle(score_bundle: Path, tmp_path: Path, mask: np.ndarray) -> Path:
    """A model of good parts that was trained with the mask."""
    folder = altered(score_bundle, tmp_path / "masked")
    written(folder / "ignore.png", mask)
    return altered(folder, tmp_path / "bundle", ignored=File(**describe(folder, "ignore.png")))


def test_a_comparator_takes_its_mask_from_the_recipe(
    tiny_bundle: Path, tmp_path: Path, mask: np.ndarray
) -> None:
    """Over the judge's crop; the rule knows which cells of the map it covers."""
    found = judge(tiny_bundle, written(tmp_path / "mask.png", mask), crop=(0, 0, 64, 64))
    assert np.array_equal(found.ignored, mask)
    assert np.array_equal(found.rule.ignored, mask[::4, ::4])
    assert judge(tiny_bundle).ignored is judge(tiny_bundle).rule.ignored is None


def test_a_bundle_brings_the_mask_that_it_learned_with(
    masked_bundle: Path, tmp_path: Path, mask: np.ndarray
) -> None:
    """Whether or not the recipe says the same."""
    same = written(tmp_path / "mask.png", mask)
    for found in (judge(masked_bundle), judge(masked_bundle, same, crop=(16, 8, 64, 64))):
        assert np.array_equal(found.ignored, mask)
        frame = np.random.default_rng(0).integers(0, 256, (80, 96), np.uint8)
        out = np.empty((1, 1, 64, 64), np.uint8)
        found.preparer().prepare(frame, "a", out)
        assert (out[0, 0][mask] == FLAT).all()
        assert (out[0, 0][~mask] != FLAT).any()


WRONG = {
    "another size": (
        "tiny_bundle",
        np.s_[8:24, 16:40],
        {},
        "is 64x64, and this judge's crop of the frame 96x80",
    ),
    "everything": ("tiny_bundle", np.s_[:], {"crop": (0, 0, 64, 64)}, "ignores everything: draw white"),
    "nothing": ("tiny_bundle", np.s_[:0], {"crop": (0, 0, 64, 64)}, "ignores nothing: draw white"),
    "a matcher": (
        "matcher_bundle",
        np.s_[:9],
        {"crop": (0, 0, 64, 64)},
        "compares whole pictures with drawings",
    ),
    "never learned": (
        "score_bundle",
        np.s_[8:24, 16:40],
        {"crop": (0, 0, 64, 64)},
        "learned without a mask: put this one as ignore.png",
    ),
    "learned otherwise": (
        "masked_bundle",
        np.s_[8:24, 16:44],
        {"crop": (0, 0, 64, 64)},
        "learned with another mask: put this one as ignore.png",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mask_that_cannot_be_meant_is_refused(
    request: pytest.FixtureRequest, tmp_path: Path, case: str
) -> None:
    """The error names the key and the file, and says what to do."""
    bundle, place, more, said = WRONG[case]
    wrong = np.zeros((64, 64), bool)
    wrong[place] = True
    path = written(tmp_path / "wrong.png", wrong)
    with pytest.raises(RecipeError) as error:
        judge(request.getfixturevalue(bundle), path, **more)
    assert str(error.value).startswith(f'[[judge]] "one" ignore: {path}: ')
    assert said in str(error.value)


def test_a_mask_that_is_not_there_is_named(tiny_bundle: Path) -> None:
    """As a master that is not there."""
    with pytest.raises(RecipeError, match=r"no-mask\.png: .*cannot be read"):
        judge(tiny_bundle, "no-mask.png")


@pytest.mark.parametrize("picture", [np.full((64, 64), 255, np.uint8), np.zeros((32, 64), np.uint8)])
def test_a_bundles_mask_that_does_not_fit_is_refused(masked_bundle: Path, picture: Any) -> None:
    """A model whose whole input is painted over would pass every part."""
    cv2.imwrite(str(masked_bundle / "ignore.png"), picture)
    ignored = File(**describe(masked_bundle, "ignore.png"))
    manifest = parse_manifest((masked_bundle / "manifest.json").read_bytes())
    write_manifest(masked_bundle, msgspec.structs.replace(manifest, ignored=ignored))
    bundle = read_bundle(masked_bundle)
    with pytest.raises(BundleError, match=r"ignore\.png: expected a mask of 64x64 with black pixels"):
        bundle.ignored()
