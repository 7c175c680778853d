"""Reads the mask of places that are to be ignored, and brings it to the size of a model's input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..bundle import Model
from ..errors import RecipeError
from ..manifest import InputSpec
from ..recipe import JudgeChoice, Preprocess, Recipe
from .picture import read_picture
from .warp import Warper

#: `(H, W)`: True at a pixel that is ignored.
Mask = NDArray[np.bool_]


def mask_of(picture: NDArray[np.uint8]) -> Mask:
    """Return which pixels a mask's picture, `(H, W)` or `(H, W, 3)` uint8, ignores: those not black."""
    return np.asarray((picture if picture.ndim == 2 else picture.max(axis=2)) > 0)


def at_input(mask: Mask, spec: InputSpec) -> Mask:
    """Return a mask of a picture, `(H, W)`, at the size of the model's input into which the picture is warped.

    A pixel of the input is ignored if any ignored pixel of the picture takes part in it.
    """
    plain = InputSpec(height=spec.height, width=spec.width)
    out = np.empty(plain.shape, np.uint8)
    Warper(None, plain).warp(mask.shape).apply(mask.astype(np.uint8) * 255, out)
    return np.asarray(out[0, 0] > 0)


def in_cells(mask: Mask, stride: int) -> Mask:
    """Return which cells of a map are ignored as a whole. `mask` has the model's input's size.

    A cell covers `stride` pixels of the input along each axis.
    """
    height, width = mask.shape[0] // stride, mask.shape[1] // stride
    cells = mask[: height * stride, : width * stride].reshape(height, stride, width, stride)
    return np.asarray(cells.all(axis=(1, 3)))


def ignored_of(
    recipe: Recipe, choice: JudgeChoice, preprocess: Preprocess, bundle: Model, spec: InputSpec
) -> Mask | None:
    """Return which pixels of a part's whole picture, of the size in `spec`, a judge ignores; None if none.

    They are those of the recipe's mask or, if it names none, those of the bundle's. Raise RecipeError if the
    recipe's mask has another size than the judge's crop, ignores nothing or everything, or does not suit the
    model: what good parts look like is learned with the mask, so another mask needs another training.
    """
    manifest = bundle.manifest
    learned = bundle.ignored()
    if not choice.ignore:
        return None if learned is None else at_input(learned, spec)
    key = f"{recipe.key(choice, 'ignore')}: {choice.ignore}"
    if manifest.matches_drawings:
        raise RecipeError(
            f"{key}: {manifest.name} compares whole pictures with drawings, so nothing can be ignored: delete "
            "the key, or cut the place off by crop"
        )
    width, height = (preprocess.crop or (0, 0, recipe.source.width, recipe.source.height))[2:]
    mask = mask_of(read_picture(Path(choice.ignore)))
    if mask.shape != (height, width):
        raise RecipeError(
            f"{key}: is {mask.shape[1]}x{mask.shape[0]}, and this judge's crop of the frame "
            f"{width}x{height}: draw the mask over that crop"
        )
    ignored = at_input(mask, spec)
    if not mask.any() or ignored.all():
        raise RecipeError(
            f"{key}: ignores {'everything' if mask.any() else 'nothing'}: draw white what is to be ignored, "
            "and the rest black"
        )
    if manifest.features or manifest.method == "constant":
        return ignored
    if learned is None or not np.array_equal(at_input(mask, manifest.picture), learned):
        raise RecipeError(
            f"{key}: {manifest.name} learned {'without a mask' if learned is None else 'with another mask'}: "
            "put this one as ignore.png into the folder of parts, train and pack anew, and delete the key: the "
            "bundle then brings its mask"
        )
    return ignored
