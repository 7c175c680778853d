from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.image.picture import read_picture
from edge.manifest import InputSpec
from trt_build.data.errors import DatasetError
from trt_build.data.products import DRAWING, PHOTO, read_omniglot, read_products, read_qmul, split_products

SPEC = InputSpec(height=32, width=32)
COLOUR = InputSpec(height=32, width=32, color="rgb")


def write_product(folder: Path, drawings: int = 2, photos: int = 3, level: int = 90) -> None:
    """Pictures of two sizes; photos blue, drawings grey."""
    folder.mkdir(parents=True)
    for i in range(drawings):
        cv2.imwrite(str(folder / f"drawing_{i}.png"), np.full((40, 48), level, np.uint8))
    for i in range(photos):
        cv2.imwrite(str(folder / f"photo_{i}.jpg"), np.full((64, 64, 3), (200, level, 0), np.uint8))


def write_qmul(path: Path, count: int = 40) -> None:
    """Product i of a category has the level i in both domains, the sketch one more."""
    arrays = {}
    for c, category in enumerate(("shoes", "chairs", "handbags")):
        for part in ("train", "test"):
            edge = np.zeros((count, 64, 64), np.uint8) + np.arange(count, dtype=np.uint8)[:, None, None]
            arrays[f"{category}_edge_{part}"] = edge + np.uint8(50 * c)
            arrays[f"{category}_sketch_{part}"] = edge + np.uint8(50 * c + 1)
    np.savez(path, **arrays)


def write_omniglot(path: Path) -> None:
    """Two characters in each of 2 + 4 alphabets by 20 drawers; as many pixels of ink as the drawer's number."""
    arrays: dict[str, list[object]] = {}
    for side, alphabets in (("background", 2), ("evaluation", 4)):
        columns: dict[str, list[object]] = {"strokes": [], "alphabet": [], "character": [], "drawer": []}
        for alphabet in range(alphabets):
            for character in range(2):
                for drawer in range(1, 21):
                    picture = np.zeros((105, 105), np.uint8)
                    picture[10 * character, :drawer] = 1
                    columns["strokes"].append(np.packbits(picture.reshape(-1)))
                    columns["alphabet"].append(f"{side} {alphabet}")
                    columns["character"].append(f"character{character}")
                    columns["drawer"].append(drawer)
        arrays |= {f"{side}_{name}": values for name, values in columns.items()}
    np.savez(path, **{name: np.array(values) for name, values in arrays.items()})


def test_a_plants_folder_is_read_as_the_line_would_see_it(tmp_path: Path):
    """Each picture is laid whole into the model's input, in its colours, with its product and hand."""
    write_product(tmp_path / "valve", drawings=1, photos=2, level=90)
    write_product(tmp_path / "bracket", drawings=2, photos=1, level=160)
    pictures = read_products(tmp_path, COLOUR)
    assert pictures.names == ("bracket", "valve")
    assert pictures.pictures.shape == (6, 3, 32, 32)
    assert pictures.product.tolist() == [0, 0, 0, 1, 1, 1]
    assert pictures.hand.tolist() == [DRAWING, DRAWING, PHOTO, DRAWING, PHOTO, PHOTO]
    red, green, blue = pictures.pictures[-1].astype(int)
    assert abs(red).max() < 5
    assert abs(green - 90).max() < 5
    assert abs(blue - 200).max() < 5
    assert read_products(tmp_path, SPEC).pictures.shape == (6, 1, 32, 32)


@pytest.mark.parametrize(
    ("spoiled", "becomes", "says"),
    [
        pytest.param("drawing_0.png", None, r"b: expected at least one drawing", id="no drawing"),
        pytest.param("photo_0.jpg", None, r"b: expected at least one photo", id="no photo"),
        pytest.param("photo_0.jpg", "part_0.jpg", r"part_0\.jpg: expected .* rename", id="another name"),
        pytest.param("photo_0.jpg", b"\xff\xd8", r"photo_0\.jpg: the JPEG is truncated", id="broken"),
    ],
)
def test_what_is_wrong_with_a_product_is_named(
    tmp_path: Path, spoiled: str, becomes: str | bytes | None, says: str
):
    """One bad product stops the reading, and the message leads to it."""
    write_product(tmp_path / "a")
    write_product(tmp_path / "b", drawings=1, photos=1)
    picture = tmp_path / "b" / spoiled
    if becomes is None:
        picture.unlink()
    elif isinstance(becomes, str):
        picture.rename(picture.with_name(becomes))
    else:
        picture.write_bytes(becomes)
    with pytest.raises(DatasetError, match=says):
        read_products(tmp_path, SPEC)


def test_everything_that_is_wrong_with_products_is_told_at_once(tmp_path: Path):
    """One corrects a folder once: what is missing, broken, called otherwise, too deep or in no folder."""
    for name in "abcde":
        write_product(tmp_path / name, drawings=1, photos=1)
    (tmp_path / "a/drawing_0.png").unlink()
    (tmp_path / "b/photo_0.jpg").write_bytes(b"\xff\xd8")
    (tmp_path / "c/photo_0.jpg").rename(tmp_path / "c/photo_0.jfif")
    (tmp_path / "d/side.webp").write_bytes((tmp_path / "d/photo_0.jpg").read_bytes())
    write_product(tmp_path / "e/older")
    cv2.imwrite(str(tmp_path / "overview.png"), np.zeros((8, 8), np.uint8))
    with pytest.raises(DatasetError) as error:
        read_products(tmp_path, SPEC)
    first, *said = str(error.value).splitlines()
    assert first == "5 mistakes:"
    assert sorted(line.strip().removeprefix(f"{tmp_path}/").split(": ")[0] for line in said) == [
        "a",
        "b/photo_0.jpg",
        "d/side.webp",
        "e/older",
        "overview.png",
    ]


def test_a_products_file_that_is_no_picture_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """A drawing that cannot be read by OpenCV does not go unnoticed."""
    write_product(tmp_path / "a")
    (tmp_path / "a/drawing.dxf").write_text("0\nSECTION\n")
    assert len(read_products(tmp_path, SPEC)) == 5
    assert f"left out, since OpenCV finds no picture in them: {tmp_path}/a/drawing.dxf" in caplog.text


def test_a_drawing_is_learned_as_the_line_reads_it(tmp_path: Path):
    """A drawing on a transparent ground is one on white paper, in training as later on the line."""
    write_product(tmp_path / "valve", drawings=0)
    drawing = np.zeros((40, 48, 4), np.uint8)
    drawing[10:20, :, 3] = 255
    drawing[30:, :, 3] = 51
    cv2.imwrite(str(tmp_path / "valve" / "drawing.png"), drawing)
    learned = read_products(tmp_path, InputSpec(height=40, width=48)).pictures[0, 0]
    assert [set(learned[rows].flat) for rows in np.s_[:10, 10:20, 20:30, 30:]] == [{255}, {0}, {255}, {204}]
    on_line = read_picture(tmp_path / "valve" / "drawing.png")
    np.testing.assert_array_equal(learned, on_line[..., 0])


@pytest.mark.parametrize("folder", ["", "missing"])
def test_a_folder_without_products_says_what_belongs_in_it(tmp_path: Path, folder: str):
    """A wrong path is not a plant without products."""
    with pytest.raises(DatasetError, match="expected a folder for each product"):
        read_products(tmp_path / folder, SPEC)


def test_a_held_out_product_stays_so_whatever_else_there_is(tmp_path: Path):
    """Products added later change nothing for those that were there, and no product is on both sides."""
    for i in range(40):
        write_product(tmp_path / f"p{i:02}", drawings=1, photos=1)
    train, kept = split_products(read_products(tmp_path, SPEC), held_out=0.3)
    names = {train.names[p] for p in kept.product}
    assert 4 < len(names) < 20
    assert set(train.product) & set(kept.product) == set()
    assert len(train) + len(kept) == 80
    write_product(tmp_path / "added", drawings=1, photos=1)
    _, again = split_products(read_products(tmp_path, SPEC), held_out=0.3)
    assert {again.names[p] for p in again.product} - {"added"} == names


def test_a_sketch_and_the_edges_of_its_photo_are_one_product(tmp_path: Path):
    """QMUL's row i of both domains becomes product i; test products stay the publisher's."""
    write_qmul(tmp_path / "qmul.npz")
    split = read_qmul(tmp_path / "qmul.npz", SPEC, held_out=0.2)
    assert len(split.train) + len(split.validation) == len(split.test) == 2 * 3 * 40
    for part in (split.train, split.validation, split.test):
        level = part.pictures[:, 0, 16, 16].astype(int)
        for product in np.unique(part.product):
            mine = part.product == product
            assert sorted(part.hand[mine]) == [DRAWING, PHOTO]
            assert level[mine & (part.hand == DRAWING)] - level[mine & (part.hand == PHOTO)] == 1
        np.testing.assert_array_equal(part.group, level // 50)
    products = [set(part.product) for part in (split.train, split.validation, split.test)]
    assert len(set.union(*products)) == sum(map(len, products)) == 240


def test_omniglot_is_parted_by_alphabet_and_drawer(tmp_path: Path):
    """Nobody who drew for training draws for the test, and validation and test share no alphabet."""
    write_omniglot(tmp_path / "omniglot.npz")
    split = read_omniglot(tmp_path / "omniglot.npz", InputSpec(height=105, width=105))
    assert (len(split.train), len(split.validation), len(split.test)) == (4 * 12, 4 * 4, 4 * 4)
    parts = (split.train, split.validation, split.test)
    assert [sorted(set(p.hand)) for p in parts] == [[*range(1, 13)], [*range(13, 17)], [*range(17, 21)]]
    assert {n.split("/")[0] for n in (split.validation.names[i] for i in split.validation.product)} == {
        "evaluation 0",
        "evaluation 2",
    }
    assert {split.test.names[i].split("/")[0] for i in split.test.product} == {"evaluation 1", "evaluation 3"}
    for part in parts:
        np.testing.assert_array_equal((part.pictures == 0).sum(axis=(1, 2, 3)), part.hand)
        assert (part.pictures.max(), part.pictures.min()) == (255, 0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param(b"no archive", r"q\.npz: expected an \.npz file", id="no archive"),
        pytest.param(None, r"q\.npz: .*No such file", id="missing"),
    ],
)
def test_a_public_file_that_is_none_is_named(tmp_path: Path, text: bytes | None, says: str):
    """A download that broke off is told as such."""
    if text is not None:
        (tmp_path / "q.npz").write_bytes(text)
    with pytest.raises(DatasetError, match=says):
        read_qmul(tmp_path / "q.npz", SPEC)


def test_a_public_file_of_something_else_says_what_it_lacks(tmp_path: Path):
    """Another archive is refused by the array that is not there."""
    np.savez(tmp_path / "q.npz", other=np.zeros(1))
    with pytest.raises(DatasetError, match="shoes_sketch_train"):
        read_qmul(tmp_path / "q.npz", SPEC)


def test_an_edge_map_without_its_sketch_is_refused(tmp_path: Path):
    """Rows that do not belong together would teach the wrong pairs."""
    write_qmul(tmp_path / "q.npz", count=4)
    with np.load(tmp_path / "q.npz") as file:
        arrays = dict(file)
    arrays["chairs_edge_test"] = arrays["chairs_edge_test"][:3]
    np.savez(tmp_path / "q.npz", **arrays)
    with pytest.raises(DatasetError, match="chairs, test: expected a sketch for each edge map"):
        read_qmul(tmp_path / "q.npz", SPEC)


@pytest.mark.skipif("EDGE_DATA" not in os.environ, reason="EDGE_DATA is not set")
def test_the_published_products_are_all_there():
    """791 products to learn from, 113 to choose thresholds with, 380 to measure on."""
    split = read_qmul(Path(os.environ["EDGE_DATA"]) / "product_drawing" / "qmul.npz", SPEC)
    parts = (split.train, split.validation, split.test)
    assert [len(np.unique(part.product)) for part in parts] == [791, 113, 380]
