from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from public_products import read_omniglot, read_qmul

from edge.manifest import InputSpec
from trt_build.data.errors import DatasetError
from trt_build.data.products import DRAWING, PHOTO

SPEC = InputSpec(height=32, width=32)
COLOUR = InputSpec(height=32, width=32, color="rgb")


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
