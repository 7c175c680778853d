from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from painted_parts import KINDS, paint, part_of, write_painted

from trt_build.data.errors import DatasetError
from trt_build.data.parts import mask_of, read_parts, split_good
from trt_build.data.pictures import read_picture, save


def part(seed: int = 0, *, color: bool = True) -> np.ndarray:
    """A bright grainy disc with a coloured pattern on a plain dark background, 96x120."""
    rng = np.random.default_rng(seed)
    picture = np.full((96, 120, 3), 10, np.float32)
    cv2.circle(picture, (60, 48), 40, (150, 160, 170), -1)
    for x, y in rng.integers(30, 66, (12, 2)).tolist():
        cv2.circle(picture, (x + 12, y), 3, (90, 60, 200), -1)
    picture = np.clip(picture + rng.normal(0, 1, picture.shape), 0, 255).astype(np.uint8)
    return picture if color else picture[..., 0].copy()


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 60 good pictures, and one defective test part that nothing may look at."""
    folder = tmp_path_factory.mktemp("parts")
    for name in ("train/good", "test/bent"):
        (folder / name).mkdir(parents=True)
    for number in range(60):
        save(folder / f"train/good/{number:03}.png", part(number))
    save(folder / "test/bent/000.png", part(999))
    return folder


@pytest.mark.parametrize("color", [True, False], ids=["colour", "grey"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_mask_holds_the_whole_change(kind: str, color: bool):
    """Nothing differs outside the mask, and the mask is not much larger than what differs."""
    picture = part(color=color)
    defective, mask = paint(picture, part_of(picture), kind, np.random.default_rng(0)) or pytest.fail(
        "nothing painted"
    )
    assert defective.shape == picture.shape
    assert mask.shape == picture.shape[:2]
    differs = np.atleast_3d(defective != picture).any(axis=2)
    assert not differs[mask == 0].any()
    assert differs[mask > 0].mean() > 0.5
    assert set(np.unique(mask)) == {0, 255}


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_plain_background_stays_as_it_is(kind: str):
    """A defect is on the part, wherever it is painted."""
    picture = part()
    outside = np.hypot(*(np.indices((96, 120)) - np.array([48, 60])[:, None, None])) > 40
    for seed in range(10):
        defective, _ = paint(picture, part_of(picture), kind, np.random.default_rng(seed)) or (picture, None)
        assert np.array_equal(defective[outside], picture[outside])


def test_without_a_plain_background_the_whole_picture_is_the_part():
    """A picture that the part fills has no background to keep clear."""
    rough = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    assert part_of(rough).all()
    assert 0.35 < part_of(part()).mean() < 0.45


def test_defects_are_small_and_large():
    """The largest masks have more than ten times the area of the smallest."""
    picture = part()
    areas = [
        found[1].mean()
        for seed in range(30)
        if (found := paint(picture, part_of(picture), "spot", np.random.default_rng(seed))) is not None
    ]
    assert max(areas) > 10 * min(areas)


def test_where_no_defect_would_show_none_is_painted():
    """A blurred patch of an even picture is no defect."""
    even = np.full((64, 64, 3), 120, np.uint8)
    assert paint(even, part_of(even), "blurred", np.random.default_rng(0)) is None


def test_the_test_parts_come_from_good_training_pictures_alone(parts: Path, tmp_path: Path):
    """No picture is both trained with and tested, and the real test parts are left out."""
    counts = write_painted(parts, tmp_path / "new", seed=0)
    made = read_parts(tmp_path / "new")
    tested = {one.path.stem for one in made.test}
    assert len(split_good(made.train).fit) >= 20
    assert tested.isdisjoint(one.path.stem for one in made.train)
    assert len(made.train) + len(tested) == 60
    assert {one.kind for one in made.test} == {"good", *KINDS}
    assert counts["test/good"] == counts["ground_truth/spot"] == len(tested)


def test_masks_lie_where_the_good_picture_differs(parts: Path, tmp_path: Path):
    """A defective part differs from the good part of the same name in its mask only."""
    write_painted(parts, tmp_path / "new", seed=0)
    tested = [one for one in read_parts(tmp_path / "new").test if not one.is_good]
    for one in tested[::7]:
        good, bad = read_picture(tmp_path / "new/test/good" / one.path.name), read_picture(one.path)
        mask = mask_of(one, good.shape[:2])
        assert mask.any()
        assert np.array_equal(good[~mask], bad[~mask])
        assert not np.array_equal(good[mask], bad[mask])


def test_a_seed_decides_everything(parts: Path, tmp_path: Path):
    """The same seed makes the same files, and another seed other files."""

    def files(name: str, seed: int) -> dict[str, bytes]:
        write_painted(parts, tmp_path / name, seed)
        return {
            str(path.relative_to(tmp_path / name)): path.read_bytes()
            for path in (tmp_path / name).rglob("*.png")
        }

    first = files("one", 0)
    assert files("again", 0) == first
    other = files("other", 1)
    assert other.keys() != first.keys()
    shared = [name for name in other.keys() & first.keys() if name.startswith("test/spot")]
    assert any(other[name] != first[name] for name in shared)


def test_no_folder_is_written_over(parts: Path, tmp_path: Path):
    """A folder that exists is an error, as old pictures in it would be tested, too."""
    with pytest.raises(DatasetError, match="exists already"):
        write_painted(parts, tmp_path, seed=0)
