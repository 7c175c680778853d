"""Puts together what a recipe and a bundle say of a judge. What the recipe says counts before the bundle."""

from __future__ import annotations

import msgspec

from ..bundle import Bundle
from ..errors import RecipeError
from ..manifest import Manifest
from ..recipe import JudgeChoice, Preprocess, Recipe
from ..tiles import MOST_TILES


def preprocess_of(recipe: Recipe, choice: JudgeChoice, bundle: Bundle) -> Preprocess:
    """Return the recipe's [preprocess] with the judge's crop, if any, and the bundle's limits where unset."""
    register, fit = recipe.preprocess.register, bundle.manifest.fit
    if fit is not None:
        register = msgspec.structs.replace(
            register,
            max_residual_px=register.max_residual_px or fit.residual_px,
            max_difference=register.max_difference or fit.difference,
        )
    crop = choice.crop or recipe.preprocess.crop
    return msgspec.structs.replace(recipe.preprocess, crop=crop, register=register)


def manifest_of(recipe: Recipe, choice: JudgeChoice, bundle: Bundle) -> Manifest:
    """Return the bundle's manifest with the tiles that the recipe names, if any.

    Other tiles than the bundle's give other scores, so they need thresholds of their own, and scores of good
    parts no longer count. Raise RecipeError if these thresholds are missing, if the model takes no tiles, or if
    the tiles are too many or larger than the judge's crop.
    """
    known = bundle.manifest
    tiles = choice.tiles or known.tiles
    key = f"{recipe.key(choice, 'tiles')}: {list(tiles)}"
    manifest = known
    if tiles != known.tiles:
        if known.matches_drawings:
            raise RecipeError(
                f"{key}: {known.name} compares whole pictures with drawings: delete the key, or cut by crop"
            )
        if set(choice.thresholds) != set(known.kinds):
            raise RecipeError(
                f"{key}: {known.name} was calibrated with tiles {list(known.tiles)}, and others give other "
                f"scores: write thresholds for {', '.join(known.kinds)} too, or delete the key"
            )
        manifest = msgspec.structs.replace(known, tiles=tiles, calibration=None)
    if manifest.grid.count > MOST_TILES or not manifest.grid.fits(manifest.stride):
        raise RecipeError(f"{key}: expected at most {MOST_TILES} tiles in all: write fewer")
    _, _, width, height = choice.crop or recipe.preprocess.crop or (0, 0, *_frame(recipe))
    down, across = manifest.grid.size
    if manifest.grid.count > 1 and (across > width or down > height):
        raise RecipeError(
            f"{key}: of {manifest.input.width}x{manifest.input.height} pixels each are {across}x{down} in all, "
            f"larger than this judge's crop, {width}x{height}: write fewer tiles, or take larger pictures"
        )
    return manifest


def _frame(recipe: Recipe) -> tuple[int, int]:
    return recipe.source.width, recipe.source.height
