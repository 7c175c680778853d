from __future__ import annotations

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.image.warp import Warper
from edge.manifest import InputSpec
from trt_build.data.errors import DatasetError
from trt_build.data.parts import LabelledPart, mask_of, picture, pictures, read_parts, split_good


def draw(path: Path, seed: int, size: tuple[int, int] = (24, 32)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four good parts for training; for testing two good ones and two with a crack of 4x6 pixels."""
    for i in range(4):
        draw(tmp_path / f"train/good/{i:03}.png", i)
    for i in range(2):
        draw(tmp_path / f"test/good/{i:03}.png", 10 + i)
        draw(tmp_path / f"test/crack/{i:03}.png", 20 + i)
        mask = np.zeros((24, 32), np.uint8)
        mask[8:12, 10:16] = 255
        path = tmp_path / f"ground_truth/crack/{i:03}_mask.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), mask)
    return tmp_path


def goods(count: int) -> list[LabelledPart]:
    return [LabelledPart(name=f"good/{i:04}", kind="good", path=Path(f"{i:04}.png")) for i in range(count)]


def test_a_folder_is_read_with_labels_and_masks(folder: Path):
    """Each picture comes with its kind, each defective one with the file that shows its defect."""
    parts = read_parts(folder)
    assert [part.name for part in parts.train] == ["good/000", "good/001", "good/002", "good/003"]
    assert [(part.name, part.is_good) for part in parts.test] == [
        ("crack/000", False),
        ("crack/001", False),
        ("good/000", True),
        ("good/001", True),
    ]
    assert parts.test[0].mask == folder / "ground_truth/crack/000_mask.png"
    assert parts.test[2].mask is None


def test_good_parts_alone_are_enough_to_train(folder: Path):
    """A plant without a single defective part can begin."""
    shutil.rmtree(folder / "test")
    shutil.rmtree(folder / "ground_truth")
    parts = read_parts(folder)
    assert (len(parts.train), parts.test) == (4, [])


def test_other_files_are_left_alone_but_named(folder: Path, caplog: pytest.LogCaptureFixture):
    """A table of thumbnails is no part, and one is told so; a licence and hidden files nobody took for one."""
    for name in ("license.txt", "train/good/Thumbs.db", "test/.DS_Store", "test/good/._000.png"):
        (folder / name).write_bytes(b"not a picture")
    assert len(read_parts(folder).train) == 4
    (warning,) = caplog.messages
    assert warning == f"left out, since OpenCV finds no picture in them: {folder}/train/good/Thumbs.db"


def test_pictures_beside_the_folders_are_named(folder: Path, caplog: pytest.LogCaptureFixture):
    """A folder of another layout does not go unnoticed."""
    draw(folder / "validation/good/000.png", 40)
    draw(folder / "overview.png", 41)
    assert len(read_parts(folder).train) == 4
    assert f"{folder}/overview.png, {folder}/validation" in caplog.text


@pytest.mark.parametrize("ending", [".webp", ".jfif", ".PNG", ".ppm", ""])
def test_a_part_is_read_whatever_its_ending(folder: Path, ending: str):
    """Whatever OpenCV reads is a picture, in training as in the test."""
    picture = np.random.default_rng(50).integers(0, 256, (24, 32, 3), np.uint8)
    coded = cv2.imencode({".jfif": ".jpg", "": ".png"}.get(ending, ending), picture)
    (folder / f"train/good/more{ending}").write_bytes(coded[1].tobytes())
    assert [part.name for part in read_parts(folder).train][-1] == "good/more"


def test_everything_that_is_wrong_is_told_at_once(folder: Path):
    """One corrects a folder once, and not once a file."""
    for damage in ("no mask", "broken", "two sizes", "twice in training", "defective in training", "deeper"):
        DAMAGE[damage](folder)
    with pytest.raises(DatasetError) as error:
        read_parts(folder)
    first, *said = str(error.value).splitlines()
    assert first == "6 mistakes:"
    places = sorted(line.strip().removeprefix(f"{folder}/").split(": ")[0] for line in said)
    assert places[:3] == ["test/crack/001.png", "test/crack/monday", "test/good/001.png"]
    assert places[3:] == ["train/good/002.png", "train/good/004.png", "train/scratch"]


def test_the_usual_size_is_the_one_that_most_pictures_have(folder: Path):
    """Where the first picture is the odd one, the others are not told to be."""
    draw(folder / "train/good/000.png", 0, (24, 40))
    with pytest.raises(DatasetError, match=r"^\S*/train/good/000\.png: is 40x24, most pictures are 32x24"):
        read_parts(folder)


def _small_mask(folder: Path) -> None:
    cv2.imwrite(str(folder / "ground_truth/crack/001_mask.png"), np.zeros((12, 16), np.uint8))


def _smooth_mask(folder: Path) -> None:
    mask = np.zeros((24, 32), np.uint8)
    mask[5:10, 5:10] = 255
    cv2.imwrite(str(folder / "ground_truth/crack/001_mask.png"), cv2.GaussianBlur(mask, (5, 5), 0))


def _truncated(folder: Path) -> None:
    path = folder / "test/good/001.png"
    path.write_bytes(path.read_bytes()[:-40])


def _twice_in_training(folder: Path) -> None:
    shutil.copy(folder / "train/good/003.png", folder / "train/good/004.png")


def _deeper_training(folder: Path) -> None:
    for i in range(2):
        draw(folder / f"train/good/monday/{i:03}.png", 31 + i)


DAMAGE = {
    "no good ones": lambda folder: shutil.rmtree(folder / "train/good"),
    "no mask": lambda folder: (folder / "ground_truth/crack/001_mask.png").unlink(),
    "small mask": _small_mask,
    "smooth mask": _smooth_mask,
    "stray mask": lambda folder: (folder / "test/crack/001.png").unlink(),
    "mask of a good one": lambda folder: (folder / "ground_truth/crack").rename(folder / "ground_truth/good"),
    "broken": lambda folder: (folder / "train/good/002.png").write_bytes(b"\x89PNG, or so it says"),
    "truncated": _truncated,
    "deep": lambda folder: cv2.imwrite(str(folder / "train/good/002.png"), np.full((24, 32), 4000, np.uint16)),
    "two sizes": lambda folder: draw(folder / "test/good/001.png", 5, (24, 40)),
    "leak": lambda folder: shutil.copy(folder / "train/good/003.png", folder / "test/good/001.png"),
    "twice in training": _twice_in_training,
    "two labels": lambda folder: shutil.copy(folder / "test/crack/001.png", folder / "test/good/007.png"),
    "defective in training": lambda folder: draw(folder / "train/scratch/000.png", 30),
    "without label": lambda folder: draw(folder / "test/000.png", 30),
    "deeper": lambda folder: draw(folder / "test/crack/monday/000.png", 31),
    "deeper training": _deeper_training,
    "same name": lambda folder: draw(folder / "test/crack/001.bmp", 30),
}


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("no good ones", r"train/good: expected pictures of good parts .*put them there"),
        ("no mask", r"test/crack/001\.png: has no mask: draw .*crack/001_mask\.png"),
        ("small mask", r"001_mask\.png: is 16x12, its picture 32x24: draw"),
        ("smooth mask", r"001_mask\.png: has more than two values: save it"),
        ("stray mask", r"001_mask\.png: belongs to no picture: .*take the mask out"),
        ("mask of a good one", r"good/000_mask\.png: belongs to no picture"),
        ("broken", r"train/good/002\.png: .*save it anew, or take it out"),
        ("truncated", r"test/good/001\.png: the PNG is truncated.*save it anew"),
        ("deep", r"train/good/002\.png: expected 8 bits .*uint16: save it so"),
        ("two sizes", r"test/good/001\.png: is 40x24, most pictures are 32x24: .*--mixed-sizes"),
        ("leak", r"test/good/001\.png: is byte for byte the training picture .*train/good/003\.png.*take one"),
        ("twice in training", r"train/good/004\.png: is byte for byte .*003\.png.*take one"),
        ("two labels", r"test/good/007\.png: is labelled 'good'.*crack/001\.png, labelled 'crack': take"),
        (
            "defective in training",
            r"train/scratch: only good parts .* and 1 here are labelled 'scratch': move the folder to .*test",
        ),
        ("without label", r"test/000\.png: lies in no label's folder: move it to .*test/good"),
        ("deeper", r"test/crack/monday: a folder with 1 file, where .*test/crack alone: move them up"),
        ("deeper training", r"train/good/monday: a folder with 2 files, where .*train/good alone: move"),
        ("same name", r"test/crack/001\.png: 001\.bmp has the same name: rename"),
    ],
    ids=lambda value: value if value in DAMAGE else "",
)
def test_what_is_wrong_is_named_with_its_remedy(folder: Path, damage: str, says: str):
    """The message leads to the file and says what to do, before an hour of training is spent on it."""
    DAMAGE[damage](folder)
    with pytest.raises(DatasetError, match=says):
        read_parts(folder)


def test_sizes_may_be_mixed_where_that_is_meant(folder: Path):
    """Parts of different sizes are read if one says so."""
    DAMAGE["two sizes"](folder)
    assert len(read_parts(folder, mixed_sizes=True).test) == 4


def test_an_empty_mask_is_a_defect_without_a_place(folder: Path):
    """Such a part counts as defective, and no pixel of it does."""
    cv2.imwrite(str(folder / "ground_truth/crack/000_mask.png"), np.zeros((24, 32), np.uint8))
    part = read_parts(folder).test[0]
    assert not part.is_good
    assert not mask_of(part, (24, 32)).any()


def test_a_picture_is_laid_out_as_on_the_line(folder: Path):
    """Training sees to the bit what the running line would hand to the model."""
    part = read_parts(folder).test[0]
    spec = InputSpec(height=12, width=12, color="rgb")
    expected = np.empty(spec.shape, np.uint8)
    frame = cv2.imread(str(part.path))
    Warper(None, spec).warp(frame.shape).apply(frame, expected)
    np.testing.assert_array_equal(picture(part, spec), expected)
    whole = picture(part, InputSpec(height=24, width=32, color="rgb"))
    np.testing.assert_array_equal(whole[0, 0], cv2.imread(str(part.path))[..., 2])


@pytest.mark.parametrize(("color", "channels"), [("gray", 1), ("bgr", 3)])
def test_pictures_are_stacked(folder: Path, color: str, channels: int):
    """Many parts, or none, make one array."""
    parts = read_parts(folder).train
    spec = InputSpec(height=16, width=20, color=color)
    stack = pictures(parts, spec)
    assert (stack.shape, stack.dtype) == ((4, channels, 16, 20), np.uint8)
    np.testing.assert_array_equal(stack[2:3], picture(parts[2], spec))
    assert pictures([], spec).shape == (0, channels, 16, 20)


def test_a_mask_keeps_its_place_in_another_size(folder: Path):
    """The crack covers rows 8 to 12 of 24 and columns 10 to 16 of 32, in any size."""
    crack, good = read_parts(folder).test[0], read_parts(folder).test[2]
    half = np.zeros((12, 16), bool)
    half[4:6, 5:8] = True
    np.testing.assert_array_equal(mask_of(crack, (12, 16)), half)
    np.testing.assert_array_equal(mask_of(crack, (24, 32))[::2, ::2], half)
    rows, columns = ((np.arange(13) + 0.5) * 24 / 13).astype(int), ((np.arange(36) + 0.5) * 32 / 36).astype(int)
    nearest = mask_of(crack, (24, 32))[np.ix_(rows, columns)]
    np.testing.assert_array_equal(mask_of(crack, (13, 36)), nearest)
    assert mask_of(good, (5, 7)).shape == (5, 7)
    assert not mask_of(good, (5, 7)).any()


def test_the_split_gives_each_part_one_place_in_the_stated_shares():
    """No threshold is set with what was trained with, and the shares are 70, 10 and 20 %."""
    parts = goods(3000)
    good = split_good(parts)
    shares = [good.fit, good.validation, good.calibration]
    assert sorted(part.name for share in shares for part in share) == [part.name for part in parts]
    assert [len(share) / 3000 for share in shares] == pytest.approx([0.7, 0.1, 0.2], abs=0.03)


@pytest.mark.parametrize("few", [4, 9, 30, 200])
def test_parts_that_are_added_move_none_to_the_threshold(few: int):
    """A threshold stays set with parts that were never trained with, however small the set was."""
    before, after = split_good(goods(few)), split_good(goods(400)[::-1])
    old = {part.name for part in goods(few)}
    for name in ("calibration", *(("fit", "validation") if few == 200 else ())):
        here = {part.name for part in getattr(before, name)}
        assert here == {part.name for part in getattr(after, name)} & old


@pytest.mark.parametrize("count", [5, 10, 20, 50])
def test_few_parts_check_the_training_too(count: int):
    """However the names fall, most parts are trained with and some are not."""
    for seed in range(50):
        good = split_good(goods(count), seed=seed)
        trained = len(good.fit) + len(good.validation)
        assert trained + len(good.calibration) == count
        assert len(good.validation) >= min(5, trained / 8)
        assert len(good.validation) <= max(1, 0.4 * trained)


def test_another_seed_splits_differently():
    """The figures can be shown for several splits."""
    assert split_good(goods(200), seed=1) != split_good(goods(200)) == split_good(goods(200), seed=0)


@pytest.mark.skipif("EDGE_DATA" not in os.environ, reason="EDGE_DATA names no folder with mvtec/ and magtile/")
@pytest.mark.parametrize(
    ("name", "mixed", "counts"), [("mvtec/bottle", False, (209, 20, 63)), ("magtile", True, (300, 100, 392))]
)
def test_the_published_sets_are_read_whole(name: str, mixed: bool, counts: tuple[int, int, int]):
    """Every file of the sets that figures are quoted on passes the checks."""
    parts = read_parts(Path(os.environ["EDGE_DATA"]) / name, mixed_sizes=mixed)
    good = sum(part.is_good for part in parts.test)
    assert (len(parts.train), good, len(parts.test) - good) == counts
    assert sum(len(share) for share in vars(split_good(parts.train)).values()) == counts[0]
    defective = [part for part in parts.test if not part.is_good]
    assert sum(mask_of(part, (64, 64)).any() for part in defective) > 0.95 * len(defective)
