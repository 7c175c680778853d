"""Kinds, colours and masks come from the data; what does not fit together is an error that says what to do."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.manifest import InputSpec
from edge.render.defects import KINDS
from trt_build.data.errors import DatasetError
from trt_build.data.pairs import fitted, read_pairs, split

SIZE = (64, 96)


def write_pictures(folder: Path, name: str, *, colour: int = 0) -> None:
    """A master and a board; blue exceeds the other channels by `colour` levels."""
    picture = np.full((*SIZE, 3), 120, np.uint8)
    picture[..., 0] += np.uint8(colour)
    for role in ("temp", "test"):
        cv2.imwrite(str(folder / f"{name}_{role}.png"), picture)


def write_mask(
    path: Path, *boxes: tuple[int, int, int, int], size: tuple[int, int] = SIZE, level: int = 1
) -> None:
    """A mask that is `level` inside the boxes."""
    mask = np.zeros(size, np.uint8)
    for left, top, right, bottom in boxes:
        mask[top:bottom, left:right] = level
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), mask)


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """Pictures of the pairs a, b and c, without labels."""
    for name in "abc":
        write_pictures(tmp_path, name)
    return tmp_path


def test_masks_without_names_are_of_one_kind(three: Path):
    """Each region of a mask is a defect, any level but black counts, and a black mask is a good board."""
    write_mask(three / "a_mask.png", (10, 5, 20, 15), (50, 30, 53, 60))
    write_mask(three / "b_mask.png", (0, 0, 96, 1), level=255)
    write_mask(three / "c_mask.png")
    pairs = read_pairs(three)
    assert (pairs.kinds, pairs.labels, len(pairs)) == (("defect",), "masks", 3)
    assert sorted(pairs[0].boxes.tolist()) == [[10, 5, 20, 15], [50, 30, 53, 60]]
    assert pairs[0].mask is not None
    assert pairs[0].mask.sum() == 100 + 90
    assert [pair.is_good for pair in pairs] == [False, False, True]


def test_folders_of_masks_name_the_kinds(three: Path):
    """The kinds are the folders, sorted; one board may have several, and an empty text marks a good board."""
    write_mask(three / "stain" / "a_mask.png", (10, 5, 20, 15))
    write_mask(three / "crack" / "a_mask.png", (40, 5, 60, 8))
    write_mask(three / "crack" / "b_mask.png", (1, 2, 3, 4))
    (three / "c.txt").write_text("")
    pairs = read_pairs(three)
    assert pairs.kinds == ("crack", "stain")
    assert [pair.kinds.tolist() for pair in pairs] == [[0, 1], [0], []]
    assert pairs[0].mask is not None
    assert (pairs[0].mask[6, 50], pairs[0].mask[10, 12], pairs[0].mask[0, 0]) == (1, 2, 0)
    assert pairs[2].mask is not None


def test_boxes_may_name_their_kinds(three: Path):
    """Names are the kinds, sorted."""
    (three / "a.txt").write_text("1 2 30 40 scratch\n5 6 7 8 dent\n")
    (three / "b.txt").write_text("1 2 30 40 dent\n")
    (three / "c.txt").write_text("")
    pairs = read_pairs(three)
    assert (pairs.kinds, pairs.labels) == (("dent", "scratch"), "boxes")
    assert [pair.kinds.tolist() for pair in pairs] == [[1, 0], [0], []]


def test_kinds_txt_gives_numbers_their_names(three: Path):
    """Type 1 is the first line, any number of kinds is possible, and names count too."""
    (three / "kinds.txt").write_text("\ufeff" + "".join(f"kind-{i}\n" for i in range(1, 10)))
    (three / "a.txt").write_text("1 2 30 40 9\n1 2 30 40 kind-2\n")
    (three / "b.txt").write_text("")
    (three / "c.txt").write_text("1,2,30,40,1\n")
    pairs = read_pairs(three)
    assert len(pairs.kinds) == 9
    assert [pair.kinds.tolist() for pair in pairs] == [[8, 1], [], [0]]


def test_the_only_listed_kind_is_that_of_masks_without_a_name(three: Path):
    """So the kind of a set with one kind has the name that the user gave it."""
    (three / "kinds.txt").write_text("scratch\n")
    for name in "abc":
        write_mask(three / f"{name}_mask.png", (1, 1, 9, 9))
    assert read_pairs(three).kinds == ("scratch",)


def test_numbers_without_a_list_are_the_kinds_of_boards(three: Path):
    """Also if no board has a defect, and if the numbers are written as names."""
    for name, text in zip("abc", ("", "1 2 30 40 open\n", "1 2 30 40 6\n"), strict=True):
        (three / f"{name}.txt").write_text(text)
    pairs = read_pairs(three)
    assert pairs.kinds == KINDS
    assert [pair.kinds.tolist() for pair in pairs] == [[], [0], [5]]


def test_a_model_gives_the_order_of_the_kinds(three: Path):
    """A test set that shows fewer kinds than the training set still means the same ones."""
    for name in "abc":
        (three / f"{name}.txt").write_text("1 2 30 40 stain\n")
    pairs = read_pairs(three, kinds=("crack", "hole", "stain"))
    assert (pairs.kinds, pairs[0].kinds.tolist()) == (("crack", "hole", "stain"), [2])


@pytest.mark.parametrize(
    ("colours", "shape"),
    [
        pytest.param((0, 0, 0), SIZE, id="grey"),
        pytest.param((5, 5, 5), SIZE, id="noise of a codec"),
        pytest.param((0, 60, 0), SIZE, id="one of three coloured"),
        pytest.param((60, 0, 60), (*SIZE, 3), id="two of three coloured"),
    ],
)
def test_pictures_keep_their_colours(tmp_path: Path, colours: tuple[int, ...], shape: tuple[int, ...]):
    """All pictures become like most of them: one with a coloured mark does not make a grey set coloured."""
    for name, colour in zip("abc", colours, strict=True):
        write_pictures(tmp_path, name, colour=colour)
        (tmp_path / f"{name}.txt").write_text("")
    pairs = read_pairs(tmp_path)
    assert {picture.shape for pair in pairs for picture in (pair.master, pair.board)} == {shape}
    assert pairs.color == ("gray" if len(shape) == 2 else "bgr")


def test_a_pair_is_scaled_as_a_line_scales_its_frames(three: Path):
    """Boxes and masks go with the pictures, in the model's colour; what fits is not copied."""
    for name in "abc":
        write_mask(three / f"{name}_mask.png", (10, 4, 20, 14))
    pair = read_pairs(three)[0]
    assert fitted(pair, InputSpec(height=64, width=96)) is pair
    large = fitted(pair, InputSpec(height=128, width=288, color="bgr"))
    assert (large.board.shape, large.master.shape) == ((128, 288, 3), (128, 288, 3))
    assert large.boxes.tolist() == [[30, 8, 60, 28]]
    assert large.mask is not None
    assert large.mask.sum() == 30 * 20
    assert fitted(large, InputSpec(height=128, width=288)).board.shape == (128, 288)


def test_more_pairs_with_masks_are_held_out(three: Path):
    """Thresholds of a small set are not chosen on a handful."""
    for name in "abc":
        write_mask(three / f"{name}_mask.png")
    pair = read_pairs(three)[0]
    many = [type(pair)(**{**vars(pair), "name": str(i)}) for i in range(1000)]
    boxes = [type(pair)(**{**vars(one), "mask": None}) for one in many]
    assert 120 < len(split(many)[1]) < 180
    assert 40 < len(split(boxes)[1]) < 80


LABELS = {
    "box of a strange kind": (
        {"kinds.txt": "dent\n", "a.txt": "1 2 3 4 scratch\n"},
        r"a\.txt:1: expected one of .*dent",
    ),
    "number too high": (
        {"kinds.txt": "dent\n", "a.txt": "1 2 3 4 2\n"},
        r"a\.txt:1: expected a type of 1\.\.1, found 2",
    ),
    "number too high for boards": (
        {"a.txt": "1 2 3 4 7\n"},
        r"a\.txt:1: .*for other kinds, list them in kinds.txt",
    ),
    "numbers and names": (
        {"a.txt": "1 2 3 4 1\n1 2 3 4 dent\n"},
        r"a\.txt:1: gives its kind by number.*kinds\.txt",
    ),
    "no name in the list": ({"kinds.txt": "\n", "a.txt": ""}, r"kinds\.txt: expected the name of a kind"),
    "a name twice": ({"kinds.txt": "a\nb\na\n", "a.txt": ""}, r"kinds\.txt: names 'a' twice: delete one"),
    "a name with a space": ({"kinds.txt": "a b\n", "a.txt": ""}, r"kinds\.txt: .*without spaces, found 'a b'"),
}


@pytest.mark.parametrize(("files", "says"), LABELS.values(), ids=LABELS)
def test_a_wrong_kind_names_the_place(three: Path, files: dict[str, str], says: str):
    """The message says where it is, what was expected, and what to do."""
    for name in "bc":
        (three / f"{name}.txt").write_text("")
    for name, text in files.items():
        (three / name).write_text(text)
    with pytest.raises(DatasetError, match=says):
        read_pairs(three)


def test_kinds_that_a_model_does_not_have_are_refused(three: Path):
    """A test set of other kinds than those trained with is not measured as if it were of them."""
    for name in "abc":
        (three / f"{name}.txt").write_text("1 2 30 40 1\n")
    with pytest.raises(
        DatasetError, match=r"a\.txt:1: of the kind 'open', expected one of dent, .*kinds\.txt of the"
    ):
        read_pairs(three, kinds=("dent", "scratch"))


def test_a_mask_of_another_size_is_refused(three: Path):
    """Both sizes are told."""
    write_mask(three / "a_mask.png", size=(96, 64))
    with pytest.raises(
        DatasetError, match=r"a_mask\.png: the mask is 64x96, its board 96x64: .*draw the mask on"
    ):
        read_pairs(three)


def test_a_mask_that_was_compressed_is_refused(three: Path):
    """The noise of JPEG would make defects."""
    write_mask(three / "a_mask.jpg")
    with pytest.raises(DatasetError, match=r"a_mask\.jpg: .*keeps its pixels: save it as PNG"):
        read_pairs(three)


def test_boxes_and_masks_are_not_mixed(three: Path):
    """Neither on one board nor in one folder."""
    write_mask(three / "a_mask.png", (1, 1, 9, 9))
    (three / "b.txt").write_text("1 2 30 40 1\n")
    (three / "c.txt").write_text("")
    with pytest.raises(DatasetError, match=r"b\.txt:1: a box, and other boards have masks"):
        read_pairs(three)
    (three / "a.txt").write_text("")
    with pytest.raises(DatasetError, match=r"a\.txt: .*a_mask\.png labels the same board: delete one"):
        read_pairs(three)


def test_a_mask_without_a_name_among_named_ones_is_refused(three: Path):
    """It is of none of the kinds; a black one is a good board."""
    write_mask(three / "stain" / "a_mask.png", (10, 5, 20, 15))
    write_mask(three / "b_mask.png", (10, 5, 20, 15))
    write_mask(three / "c_mask.png")
    with pytest.raises(
        DatasetError, match=r"b_mask\.png: .*names no kind, .*into the folder of its kind"
    ) as error:
        read_pairs(three)
    assert len(error.value.mistakes) == 1


def test_a_board_without_a_label_is_refused(three: Path):
    """Whether it is good or was forgotten, nobody can tell."""
    for name in "ab":
        write_mask(three / f"{name}_mask.png")
    with pytest.raises(DatasetError) as error:
        read_pairs(three)
    assert len(error.value.mistakes) == 2
    assert "c_temp.png: has no label beside it: write c.txt with a line for each defect, empty" in str(
        error.value
    )
