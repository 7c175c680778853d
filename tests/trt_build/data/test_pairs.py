from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.render.defects import KINDS
from trt_build.data.errors import DatasetError
from trt_build.data.pairs import Pair, read_pairs, split
from trt_build.methods.comparator.augment import (
    BLACK_AND_WHITE,
    OPPOSITE,
    Augmentation,
    augment,
    augmentation_for,
)
from trt_build.methods.comparator.painted import add_defects


def write_pair(
    folder: Path, name: str, text: str = "10 20 40 50 3\n", size: tuple[int, int] = (96, 128)
) -> None:
    picture = np.full(size, 255, np.uint8)
    cv2.imwrite(str(folder / f"{name}_temp.png"), picture)
    cv2.imwrite(str(folder / f"{name}_test.png"), picture)
    (folder / f"{name}.txt").write_text(text)


def lattice(size: int = 400) -> Pair:
    """A board of straight tracks, 20 px wide and 40 px apart, without defects."""
    picture = np.full((size, size), 255, np.uint8)
    for x in range(30, size, 40):
        picture[:, x : x + 20] = 0
    empty = np.empty((0, 4), np.float32), np.empty(0, np.int64)
    return Pair(name="lattice", master=picture, board=picture, boxes=empty[0], kinds=empty[1])


def test_pairs_are_read_with_their_boxes(tmp_path: Path):
    """A folder in DeepPCB's layout is read as it is, whatever the pictures' format."""
    write_pair(tmp_path, "a", "10 20 40 50 3\n\n1 2 30 40 6\n")
    write_pair(tmp_path, "b", "")
    (tmp_path / "b_temp.png").rename(tmp_path / "b_temp.PNG".lower())
    first, second = read_pairs(tmp_path)
    assert (first.name, first.master.shape, first.board.dtype) == ("a", (96, 128), np.uint8)
    assert first.boxes.tolist() == [[10, 20, 40, 50], [1, 2, 30, 40]]
    assert [KINDS[kind] for kind in first.kinds] == ["mousebite", "pin-hole"]
    assert second.boxes.shape == (0, 4)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("1 2 30 40\n", r"a\.txt:1: expected x1 y1 x2 y2 type, four whole numbers", id="too few"),
        pytest.param(
            "1 2 30 40 1\n1 2 x 40 1\n",
            r"a\.txt:2: expected x1 y1 x2 y2 type, four whole numbers",
            id="no number",
        ),
        pytest.param("1 2 30 40 7\n", r"a\.txt:1: expected a type of 1\.\.6, found 7", id="unknown type"),
        pytest.param("30 2 1 40 1\n", r"a\.txt:1: expected x1 < x2", id="turned over"),
        pytest.param("1 2 30 97 1\n", r"a\.txt:1: .*inside 128x96", id="outside"),
    ],
)
def test_a_bad_box_names_its_line(tmp_path: Path, text: str, says: str):
    """The message leads to the line that is wrong."""
    write_pair(tmp_path, "a", text)
    with pytest.raises(DatasetError, match=says):
        read_pairs(tmp_path)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("10 20 40 50 3 # für".encode("latin-1"), r"a\.txt: not UTF-8: found the byte 0xfc in line 1: save"),
        ("10 20 40 50 3\n".encode("utf-16"), r"a\.txt: not UTF-8: found the byte 0xff in line 1: save"),
        (
            "10 20 40 50 3\n".encode("utf-16-le"),
            r"a\.txt: not UTF-8: found zero bytes, as UTF-16 has them: save",
        ),
    ],
    ids=["Latin-1", "UTF-16", "UTF-16 without its mark"],
)
def test_boxes_in_another_encoding_are_told_so(tmp_path: Path, data: bytes, says: str):
    """An export of another program is named, with what to do."""
    write_pair(tmp_path, "a")
    (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises(DatasetError, match=says):
        read_pairs(tmp_path)


def test_boxes_may_begin_with_a_byte_order_mark(tmp_path: Path):
    """As Windows' editor writes them."""
    write_pair(tmp_path, "a")
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf10 20 40 50 3\r\n")
    assert read_pairs(tmp_path)[0].boxes.tolist() == [[10, 20, 40, 50]]


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path):
    """One corrects a folder once, and not once a file: every line, every picture, every name."""
    for name in "abcd":
        write_pair(tmp_path, name)
    (tmp_path / "a.txt").write_text("1 2 30 40\n1 2 30 40 1\n1 2 30 40 9\n")
    (tmp_path / "b_test.png").unlink()
    (tmp_path / "c_temp.png").write_bytes(b"\x89PNG\r\n")
    (tmp_path / "d_temp.png").rename(tmp_path / "d_master.png")
    with pytest.raises(DatasetError) as error:
        read_pairs(tmp_path)
    said = [line.strip().removeprefix(f"{tmp_path}/") for line in str(error.value).splitlines()]
    assert said[0] == "6 mistakes:"
    places = sorted(line.split(": ")[0] for line in said[1:])
    assert places == ["a.txt:1", "a.txt:3", "b_test.*", "c_temp.png", "d_master.png", "d_temp.*"]


def test_of_very_many_mistakes_ten_are_told_and_the_rest_counted(tmp_path: Path):
    """The first page stays readable."""
    for i in range(30):
        write_pair(tmp_path, f"{i:02}", "1 2 3\n")
    with pytest.raises(DatasetError) as error:
        read_pairs(tmp_path)
    lines = str(error.value).splitlines()
    assert (lines[0], len(lines), lines[-1]) == ("30 mistakes:", 12, "  and 20 more")


@pytest.mark.parametrize("ending", [".webp", ".jfif", ".PNG", ".pgm", ""])
def test_a_picture_is_read_whatever_its_ending(tmp_path: Path, ending: str):
    """Whatever OpenCV reads is a picture."""
    write_pair(tmp_path, "a")
    coded = cv2.imencode({".jfif": ".jpg", "": ".png"}.get(ending, ending), np.full((96, 128), 255, np.uint8))
    (tmp_path / "a_temp.png").unlink()
    (tmp_path / f"a_temp{ending}").write_bytes(coded[1].tobytes())
    assert read_pairs(tmp_path)[0].master.mean() > 250


def test_no_picture_of_a_folder_of_pairs_is_left_out_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """Pictures that lie too deep or are there twice are errors; what is no picture is named."""
    write_pair(tmp_path, "a")
    (tmp_path / "a_temp.heic").write_bytes(b"no picture that OpenCV knows")
    assert len(read_pairs(tmp_path)) == 1
    assert f"left out, since OpenCV finds no picture in them: {tmp_path}/a_temp.heic" in caplog.text
    (tmp_path / "more").mkdir()
    write_pair(tmp_path / "more", "b")
    cv2.imwrite(str(tmp_path / "a_temp.bmp"), np.full((96, 128), 255, np.uint8))
    with pytest.raises(DatasetError) as error:
        read_pairs(tmp_path)
    assert f"{tmp_path}/more: a folder with 3 files, where pictures are looked for in" in str(error.value)
    assert f"{tmp_path}/a_temp.png: a_temp.bmp is of the same name: rename" in str(error.value)


def test_a_missing_partner_is_named(tmp_path: Path):
    """A pair without its master, board or boxes stops the reading and says which file it lacks."""
    for role in ("_temp.png", "_test.png", ".txt"):
        folder = tmp_path / role.strip("_.")
        folder.mkdir()
        write_pair(folder, "a")
        write_pair(folder, "b")
        (folder / f"b{role}").unlink()
        with pytest.raises(DatasetError, match=r"b_t\w+"):
            read_pairs(folder)


def test_master_and_board_of_two_sizes_are_refused(tmp_path: Path):
    """Both sizes are told."""
    write_pair(tmp_path, "a")
    cv2.imwrite(str(tmp_path / "a_temp.png"), np.zeros((96, 96), np.uint8))
    with pytest.raises(DatasetError, match=r"\(96, 96\).*\(96, 128\)"):
        read_pairs(tmp_path)


def test_an_empty_folder_says_what_belongs_in_it(tmp_path: Path):
    """A wrong path is not a dataset of nothing."""
    with pytest.raises(DatasetError, match=r"expected pairs <id>_temp"):
        read_pairs(tmp_path)


def test_the_held_out_pairs_stay_the_same(tmp_path: Path):
    """A pair is held out because of its name: more pairs or another order change nothing for it."""
    pairs = [Pair(**{**vars(lattice(8)), "name": f"{i:03}"}) for i in range(200)]
    train, held_out = split(pairs, held_out=0.2)
    again, held_out_again = split([*reversed(pairs), *pairs[:0]], held_out=0.2)
    assert {p.name for p in held_out} == {p.name for p in held_out_again}
    assert len(train) + len(held_out) == 200
    assert 20 < len(held_out) < 60
    assert {p.name for p in split(pairs, held_out=0.2, seed=1)[1]} != {p.name for p in held_out}
    assert len(again) == len(train)


def test_painted_defects_are_what_they_are_called():
    """A painted short joins two tracks, an open parts one, and the others leave the circuit as it was."""
    pair = lattice()
    seen = set()
    for seed in range(30):
        board, boxes, kinds = add_defects(
            pair.board, pair.boxes, pair.kinds, 0.0, np.random.default_rng(seed), tries=8
        )
        for box, kind in zip(boxes.astype(int), kinds, strict=True):
            cut = np.s_[max(box[1] - 3, 0) : box[3] + 3, max(box[0] - 3, 0) : box[2] + 3]
            one = pair.board.copy()
            one[cut] = board[cut]
            tracks = cv2.connectedComponents((one <= 127).astype(np.uint8))[0] - 1
            expected = {"open": 11, "short": 9, "copper": 11}.get(KINDS[kind], 10)
            assert tracks == expected, KINDS[kind]
            seen.add(KINDS[kind])
    assert seen == set(KINDS)


def test_the_boxes_follow_the_picture():
    """Whatever the crop, turn and scale, what differs lies inside of a box, a margin away from its sides."""
    how = Augmentation(size_px=192, shift_px=0, turn_deg=0, clean=0, jpeg=0, grey=0, noise=0)
    pair = lattice()
    board, boxes, kinds = add_defects(
        pair.board, pair.boxes, pair.kinds, 10.0, np.random.default_rng(5), tries=20
    )
    pair = Pair(name="painted", master=pair.master, board=board, boxes=boxes, kinds=kinds)
    checked = 0
    for seed in range(40):
        crop = augment(pair, how, np.random.default_rng(seed))
        master, turned, placed = crop.master, crop.board, crop.boxes
        _, _, stats, _ = cv2.connectedComponentsWithStats(cv2.dilate(master ^ turned, np.ones((3, 3))))
        for x, y, w, h, area in stats[1:]:
            whole = x > 12 and y > 12 and x + w < 180 and y + h < 180
            if not whole or area < 100:
                continue
            core = np.array([x + 1, y + 1, x + w - 1, y + h - 1])
            off = np.abs(placed - (core + np.array([-10, -10, 10, 10]))).max(axis=1)
            inside = np.all((placed[:, :2] < core[:2]) & (core[2:] < placed[:, 2:]), axis=1)
            assert inside.any()
            checked += off.min() < 4
    assert checked > 20


def test_a_negative_board_has_the_opposite_defects():
    """With copper and board exchanged an open is a short, and exchanged twice it is an open again."""
    assert KINDS[OPPOSITE[KINDS.index("mousebite")]] == "spur"
    assert OPPOSITE[OPPOSITE].tolist() == list(range(len(KINDS)))


def test_an_augmented_pair_depends_on_its_seed_only():
    """The same seed gives the same crop, so that a run that was stopped sees what it would have seen."""
    one, other = (augment(lattice(), Augmentation(size_px=96), np.random.default_rng(7)) for _ in range(2))
    for a, b in zip(vars(one).values(), vars(other).values(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_pictures_decide_how_they_are_varied():
    """Scans of two levels are varied as such; camera pictures keep their levels and their sense."""
    scan = lattice()
    camera = np.full_like(scan.master, 120)
    pair = Pair(name="camera", master=camera, board=camera, boxes=scan.boxes, kinds=scan.kinds)
    assert augmentation_for([scan], KINDS) == BLACK_AND_WHITE
    assert augmentation_for([pair], KINDS) == Augmentation()
    assert (Augmentation().paint, Augmentation().invert, Augmentation().grey) == (0, 0, 1)
