from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch, which only building models uses")

import matching
from matching import (
    PUBLIC,
    calibration_words,
    recipe_of,
    run_seed,
    some_products,
    training_words,
    with_new_photos,
)

from trt_build.data.products import DRAWING, PHOTO, Pictures
from trt_build.methods.matcher.augment import LETTERS, PRODUCTS
from trt_build.methods.matcher.batches import SinglePairs

GIVEN = {"backbone": None, "second": None, "as_published": False, "epochs": None, "batch": None}
GIVEN |= {"pairs_per_epoch": None}


def options(data: str, **given: object) -> Namespace:
    return Namespace(data=Path(data), **(GIVEN | given))


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_file_is_trained_as_published(name: str):
    """With the source's branch, its single pairs and its schedule, as long and in batches as large as asked."""
    recipe = recipe_of(options(f"{name}.npz", as_published=True, epochs=3, batch=32, pairs_per_epoch=640), 7)
    assert recipe.network.branch == "source"
    redrawing = {"qmul": PRODUCTS, "omniglot": LETTERS}[name]
    assert recipe.sampling == SinglePairs(pairs=32, per_epoch=640, redrawing=redrawing)
    assert (recipe.training.epochs, recipe.training.seed, recipe.training.keep_lowest) == (3, 7, "test_loss")
    own = recipe_of(options(f"{name}.npz"), 0)
    assert (own.network, own.sampling) == (PUBLIC[name].network, PUBLIC[name].sampling)


def test_letters_are_centred_and_compared_place_by_place():
    """As `trt-build train matcher --letters` does; products keep their place and their dense layer."""
    letters, products = PUBLIC["omniglot"].network, PUBLIC["qmul"].network
    assert (letters.size, letters.head, letters.centred > 0) == (105, "map", True)
    assert (products.size, products.head, products.centred) == (105, "dense", 0)


def test_a_folder_is_trained_with_the_same_options():
    """The command line is told what a public file's recipe is told."""
    words = training_words(options("products", as_published=True, epochs=3, batch=32, pairs_per_epoch=640))
    assert words == ["--as-published", "--epochs", "3", "--batch", "32", "--pairs-per-epoch", "640"]
    assert training_words(options("products")) == []


def test_a_folder_is_judged_as_published():
    """The source calls photo and drawing one product from a cosine of 0.5 up; otherwise good parts decide."""
    assert calibration_words(options("products", as_published=True)) == ["--similarity", "0.5"]
    assert calibration_words(options("products", rate=0.1)) == ["--rate", "0.1"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"backbone": "source"}, "--backbone: a matcher has no pre-trained network"),
        ({"second": "resnet18"}, "--second: a matcher has no pre-trained network"),
        ({"pairs_per_epoch": 9}, "--pairs-per-epoch: does nothing without --as-published"),
    ],
    ids=["backbone", "second", "pairs"],
)
def test_an_option_that_would_be_ignored_is_refused(tmp_path: Path, given: dict[str, object], says: str):
    """For a folder as for a public file, before anything is trained."""
    for data in (tmp_path, tmp_path / "qmul.npz"):
        with pytest.raises(SystemExit, match=says):
            run_seed(options(str(data), **given), tmp_path, 0)


def test_the_folder_of_a_public_file_stands_for_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`omniglot/` is measured as `omniglot/omniglot.npz`, and never as a plant's folder."""
    (tmp_path / "omniglot").mkdir()
    (tmp_path / "omniglot/omniglot.npz").touch()
    measured: list[Path] = []
    monkeypatch.setattr(matching, "_public", lambda options, *_: measured.append(options.data))
    for name in ("omniglot", "omniglot/omniglot.npz"):
        run_seed(options(str(tmp_path / name)), tmp_path, 0)
    assert measured == [tmp_path / "omniglot/omniglot.npz"] * 2


def test_the_sources_test_has_new_photos_of_its_products():
    """A drawing and four photos of each, none of them a photo that was given, each redrawn by itself."""
    rng = np.random.default_rng(0)
    product = np.repeat(np.arange(10), 2)
    train = Pictures(
        pictures=rng.integers(0, 256, (20, 1, 32, 32)).astype(np.uint8),
        product=product,
        group=product * 0,
        hand=np.tile([DRAWING, PHOTO], 10),
        names=tuple("abcdefghij"),
    )
    closed = with_new_photos(train, PRODUCTS, products=5)
    assert sorted(set(closed.product)) == [0, 2, 4, 6, 8]
    assert np.bincount(closed.product[closed.hand == PHOTO]).tolist() == [4, 0, 4, 0, 4, 0, 4, 0, 4]
    some = some_products(train, 5)
    np.testing.assert_array_equal(closed.pictures[closed.hand == DRAWING], some.pictures[some.hand == DRAWING])
    photos = {picture.tobytes() for picture in closed.pictures[closed.hand == PHOTO]}
    assert len(photos) == 20
    assert not photos & {picture.tobytes() for picture in train.pictures}
