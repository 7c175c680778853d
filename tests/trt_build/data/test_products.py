from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.image.picture import read_picture
from edge.manifest import InputSpec
from trt_build.data.errors import DatasetError
from trt_build.data.products import DRAWING, PHOTO, read_products, split_products

SPEC = InputSpec(height=32, width=32)
COLOUR = InputSpec(height=32, width=32, color="rgb")


def write_product(folder: Path, drawings: int = 2, photos: int = 3, level: int = 90) -> None:
    """Pictures of two sizes; photos blue, drawings grey."""
    folder.mkdir(parents=True)
    for i in range(drawings):
        cv2.imwrite(str(folder / f"drawing_{i}.png"), np.full((40, 48), level, np.uint8))
    for i in range(photos):
        cv2.imwrite(str(folder / f"photo_{i}.jpg"), np.full((64, 64, 3), (200, level, 0), np.uint8))


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
    places = sorted(line.strip().removeprefix(f"{tmp_path}/").split(": ")[0] for line in said)
    assert places == ["a", "b/photo_0.jpg", "d/side.webp", "e/older", "overview.png"]


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
