"""A camera that hands over raw pixels: its frames become colours, and the line judges them."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from lines import UNHURRIED, Subscriber, running, until, write_recipe
from masters import master_pictures
from numpy.typing import NDArray

from edge.bundle import read_bundle
from edge.demo.picture import frames_of
from edge.errors import PartError, RecipeError
from edge.image.masters import Masters
from edge.image.picture import demosaiced, grey
from edge.image.prepare import Preparer
from edge.image.warp import Warper
from edge.judges.judge import judge_of
from edge.manifest import InputSpec
from edge.recipe import Folder, Preprocess, Recipe, Synthetic
from edge.recipe_file import read_recipe
from edge.render.board import design
from edge.render.photo import BoardPose, master, mosaic, photograph

Image = NDArray[np.uint8]
#: OpenCV names a pattern by the second and third pixel of the second row.
PATTERNS = {
    "rggb": cv2.COLOR_BayerBG2BGR,
    "grbg": cv2.COLOR_BayerGB2BGR,
    "gbrg": cv2.COLOR_BayerGR2BGR,
    "bggr": cv2.COLOR_BayerRG2BGR,
}
patterns = pytest.mark.parametrize("bayer", PATTERNS)


def noise(*shape: int) -> Image:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@patterns
def test_an_even_colour_comes_back_as_it_was(bayer: Any) -> None:
    """Red is red for the pattern that the camera's data sheet names."""
    picture = np.empty((9, 12, 3), np.uint8)
    picture[:] = (10, 120, 240)
    raw = mosaic(picture, bayer)
    assert [int(raw[at]) for at in ((0, 0), (0, 1), (1, 0), (1, 1))] == [
        {"b": 10, "g": 120, "r": 240}[colour] for colour in bayer
    ]
    assert np.array_equal(demosaiced(raw, bayer), picture)


@patterns
@pytest.mark.parametrize("crop", [None, (0, 0, 20, 17), (1, 0, 20, 17), (4, 3, 31, 22), (7, 5, 30, 20)])
def test_a_crop_shows_what_the_whole_frame_shows_there(bayer: Any, crop: Any) -> None:
    """Wherever a crop begins, its colours are those that OpenCV makes of the frame, at its rim as well."""
    raw = noise(25, 37)
    x, y, w, h = crop or (0, 0, 37, 25)
    spec = InputSpec(height=h, width=w, color="rgb")
    out = np.empty(spec.shape, np.uint8)
    Warper(crop, spec, bayer).warp(raw.shape).apply(raw, out)
    expected = cv2.cvtColor(raw, PATTERNS[bayer])[y : y + h, x : x + w, ::-1]
    assert np.array_equal(out[0], np.moveaxis(expected, -1, 0))


@patterns
@pytest.mark.parametrize("crop", [None, (0, 0, 20, 17), (1, 0, 20, 17), (4, 3, 31, 22), (7, 5, 30, 20)])
def test_registration_sees_the_crop_in_grey(bayer: Any, crop: Any) -> None:
    """As the whole frame's colours would show it there, to within a level, also at the crop's rim."""
    raw = noise(25, 37)
    x, y, w, h = crop or (0, 0, 37, 25)
    found = Warper(crop, InputSpec(height=h, width=w), bayer).shown(raw)
    expected = grey(cv2.cvtColor(raw, PATTERNS[bayer]))[y : y + h, x : x + w]
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= 1


@patterns
def test_a_raw_part_lies_alike_whoever_warps_it(bayer: Any) -> None:
    """An engine that warps frames gets the pose of a shifted and turned board that the CPU's warp gets."""
    board, spec = design(5, 320, 320), InputSpec(height=256, width=256, color="bgr")
    picture = master(board, colour=True)
    crop = (31, 17, 256, 256)
    masters = Masters(lambda view: (picture, view), Preprocess(crop=crop), spec, picture.shape)
    preparer = Preparer(Preprocess(crop=crop), spec, masters, bayer)
    for dx_px, dy_px, rotation_deg in ((0, 0, 0), (6.4, -3.3, 1.0), (-5.5, 7.1, -1.4)):
        pose = BoardPose(dx_px=dx_px, dy_px=dy_px, rotation_deg=rotation_deg)
        raw = mosaic(photograph(board.art, board, pose, np.random.default_rng(3), colour=True), bayer)
        here, there = (preparer.prepare(raw, "a", out) for out in (np.empty(spec.shape, np.uint8), None))
        assert (here.in_slot, there.in_slot) == (True, False)
        assert there.to_frame == pytest.approx(here.to_frame, abs=0.01)
        assert there.registration_px == pytest.approx(here.registration_px, abs=0.03)


def test_a_frame_that_the_engine_warps_is_not_made_colours_of() -> None:
    """Only its crop is looked at: no colours of the frame are made, and pixels elsewhere do not matter."""
    board, spec, crop = design(5, 512, 512), InputSpec(height=128, width=128), (101, 60, 128, 128)
    masters = Masters(lambda view: (master(board), view), Preprocess(crop=crop), spec, (512, 512))
    preparer = Preparer(Preprocess(crop=crop), spec, masters, "grbg")
    raw = mosaic(photograph(board.art, board, BoardPose(), np.random.default_rng(3), colour=True), "grbg")
    other = noise(512, 512)
    other[58:190, 99:231] = raw[58:190, 99:231]
    wanted = preparer.prepare(raw, "a", None)
    tracemalloc.start()
    found = preparer.prepare(other, "a", None)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == wanted
    assert most < 2 * raw.nbytes


def test_a_raw_part_is_laid_onto_its_master() -> None:
    """Registration sees the part, not the pattern of the filters; contrast is that of the part, too."""
    board, spec = design(5, 320, 320), InputSpec(height=320, width=320, color="bgr")
    picture = master(board, colour=True)
    masters = Masters(lambda view: (picture, view), Preprocess(), spec, picture.shape)
    pose = BoardPose(dx_px=6.0, dy_px=-3.0, rotation_deg=1.0)
    part = photograph(board.art, board, pose, np.random.default_rng(3), colour=True)
    found = [
        Preparer(Preprocess(), spec, masters, bayer).prepare(frame, "a", np.empty(spec.shape, np.uint8))
        for frame, bayer in ((part, None), (mosaic(part, "gbrg"), "gbrg"))  # type: ignore[arg-type]
    ]
    assert found[1].to_frame == pytest.approx(found[0].to_frame, abs=0.3)
    even = mosaic(np.full((320, 320, 3), (0, 90, 200), np.uint8), "gbrg")
    with pytest.raises(PartError, match="contrast is 0 grey levels"):
        Preparer(Preprocess(), spec, masters, "gbrg").prepare(even, "a", np.empty(spec.shape, np.uint8))


def test_a_master_that_the_camera_took_is_raw_like_its_frames(tmp_path: Path, tiny_bundle: Path) -> None:
    """It is made colours of in the same way, so a part that is its master looks just like it."""
    raw = noise(64, 64)
    cv2.imwrite(str(tmp_path / "a.png"), raw)
    source = Folder(files="*.png", width=64, height=64, color="bayer-grbg")
    recipe = Recipe(line="l", bundle="b", masters=str(tmp_path / "{view}.png"), source=source)
    bundle = read_bundle(tiny_bundle)
    found = judge_of(recipe, recipe.judges[0], bundle).masters()
    assert found
    assert np.array_equal(found.get("a").input[0, 0], grey(cv2.cvtColor(raw, cv2.COLOR_BayerGB2BGR)))


def test_a_raw_frame_has_one_byte_a_pixel() -> None:
    """Shared memory is made as large as what the camera hands over."""
    source = Folder(files="*.png", width=20, height=10, color="bayer-grbg")
    assert (source.bayer, source.shape, source.nbytes) == ("grbg", (10, 20), 200)
    assert Folder(files="*.png", width=20, height=10).bayer is None


def test_rendered_boards_can_be_raw() -> None:
    """What a line does with a raw camera can be tried without one, and its pictures are shown in colours."""
    plain = Synthetic(width=80, height=61, color="bgr", seed=3, parts=2)
    raw = msgspec.structs.replace(plain, color="bayer-gbrg")
    expected, shown = frames_of(plain, {1, 2}), frames_of(raw, {1, 2})
    for number in (1, 2):
        assert np.array_equal(shown[number], demosaiced(mosaic(expected[number], "gbrg"), "gbrg"))
    assert [picture.shape for picture in master_pictures(raw).values()] == [(61, 80, 3)] * 4


def test_a_video_has_no_raw_frames(tmp_path: Path) -> None:
    """The recipe is told wrong before the line starts, with what to say instead."""
    source = 'kind = "video"\naddress = "/dev/video0"\nwidth = 64\nheight = 64\ncolor = "bayer-rggb"'
    (tmp_path / "recipe.toml").write_text(f'line = "a"\nbundle = "b"\n[source]\n{source}\n')
    with pytest.raises(RecipeError, match=r"recipe.toml: \[source\] color: .* write \"bgr\" or \"gray\", or"):
        read_recipe(tmp_path / "recipe.toml")


def test_a_line_judges_raw_pictures(tmp_path: Path, tiny_bundle: Path, textured: Image) -> None:
    """From a folder of them, held against a master in colours."""
    for name in ("masters", "frames"):
        (tmp_path / name).mkdir()
    tint = np.stack([np.full_like(textured, 255), textured, textured // 4], -1)
    cv2.imwrite(str(tmp_path / "masters/a.png"), tint)
    boards = {f"{number}": number % 2 == 0 for number in range(6)}
    for name, good in boards.items():
        part = tint.copy()
        if not good:
            part[20:28, 36:44] = 255
        cv2.imwrite(str(tmp_path / f"frames/{name}.a.png"), mosaic(part, "bggr"))
    source = 'kind = "folder"\nfiles = "frames/*.{view}.png"\nwidth = 64\nheight = 64\ncolor = "bayer-bggr"'
    recipe = write_recipe(tmp_path, tiny_bundle, source, UNHURRIED)
    with Subscriber(tmp_path) as subscriber, running(recipe) as line:
        status, said = line.wait()
        until(lambda: len(subscriber.verdicts) >= len(boards), "the last verdict is heard")
    assert status == 0, said
    verdicts = [verdict.verdict for _, verdict in subscriber.verdicts]
    assert verdicts == ["pass" if good else "reject" for good in boards.values()]
