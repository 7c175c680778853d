"""Reads the judges of a recipe: their bundles, masters, drawings and rules for rejecting a part."""

from __future__ import annotations

import glob
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from ..bundle import Bundle, read_bundle
from ..errors import RecipeError
from ..image.ignore import Mask, ignored_of, in_cells
from ..image.masters import Masters, digest_of_picture, known_views, master_files, masters_of
from ..image.picture import read_picture
from ..image.prepare import Preparer
from ..image.warp import Warper
from ..manifest import Manifest
from ..memory.ring import outputs_nbytes
from ..recipe import Fusion, JudgeChoice, Preprocess, Recipe
from ..recipe_file import read_recipe
from .decide import Rule
from .fuse import ROUNDING, suffices
from .pvalue import combine
from .rules import Rules
from .settings import manifest_of, preprocess_of


@dataclass(frozen=True, kw_only=True)
class Judge:
    """One model of a line that inspects the frames of one camera. `judge_of` makes a Judge.

    `recipe` is the recipe for this camera alone (`Recipe.seen_by`).
    `pictures` is what `pictures_of` returned when the line started. A part whose master has changed
    since then is refused.
    """

    recipe: Recipe
    choice: JudgeChoice
    bundle: Bundle
    rule: Rule
    pictures: dict[str, str] = field(default_factory=dict)
    ignored: Mask | None = None  # the pixels of a part's whole picture that are painted flat

    @property
    def camera(self) -> str:
        """The name of the camera whose frames it inspects."""
        return self.recipe.source.camera

    @property
    def preprocess(self) -> Preprocess:
        """The recipe's [preprocess] with the judge's crop, if any, and the bundle's limits for those unset."""
        return preprocess_of(self.recipe, self.choice, self.bundle)

    @property
    def manifest(self) -> Manifest:
        """The bundle's manifest, with the tiles that the recipe names, if any."""
        return manifest_of(self.recipe, self.choice, self.bundle)

    def masters(self) -> Masters | None:
        """Return the masters with which parts are compared. Return None if the model needs no masters."""
        spec = self.manifest.picture
        return masters_of(
            self.recipe, self.choice, self.preprocess, self.bundle, self.pictures, spec, self.ignored
        )

    def views(self) -> list[str]:
        """Return the names of the views that have a master at this moment."""
        return known_views(self.recipe, self.choice, self.bundle)

    def preparer(self) -> Preparer:
        """Read all masters and return a preparer, which turns frames into whole pictures for the model.

        Raise RecipeError if a master does not fit the frames, so that the error comes before the line is armed.
        """
        masters = self.masters()
        if masters is not None:
            for view in self.views():
                masters.get(view)
        spec, bayer = self.manifest.picture, self.recipe.source.bayer
        return Preparer(self.preprocess, spec, masters, bayer, self.ignored)

    def warper(self) -> Warper:
        """Return what warps frames into whole pictures for the model, once it is known how the part lies."""
        spec, bayer = self.manifest.picture, self.recipe.source.bayer
        return Warper(self.preprocess.crop, spec, bayer, self.ignored)

    @property
    def drawing_files(self) -> list[str]:
        """The paths that match the pattern under the recipe's key `drawings`, sorted."""
        return sorted(glob.glob(self.choice.drawings))

    def drawings(self) -> list[NDArray[np.uint8]]:
        """Read each drawing as a model input `(1, C, H, W)` uint8. Raise RecipeError if there are none."""
        found = [read_picture(Path(path)) for path in self.drawing_files]
        if not found:
            raise RecipeError(
                f"{self.recipe.key(self.choice, 'drawings')}: {self.choice.drawings!r} names no file, and "
                f"{self.bundle.manifest.name} compares parts with drawings of their product: write where the "
                "drawings are"
            )
        return [drawing_input(picture, self.bundle) for picture in found]


def read_line(path: Path) -> tuple[Recipe, str, tuple[Judge, ...]]:
    """Read a recipe file. Return the recipe, the SHA-256 of the file, and the recipe's judges.

    Raise RecipeError, which names the file and the key, if the recipe is wrong, and BundleError if a bundle is.
    """
    recipe, digest = read_recipe(path)
    try:
        return recipe, digest, read_judges(recipe)
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from error


def read_judges(recipe: Recipe) -> tuple[Judge, ...]:
    """Return the judges of a recipe, camera by camera. Verify the bundle of each judge.

    A judge without a camera of its own is there once for each camera.

    Raise BundleError, which names the file, if a bundle cannot be used. Raise RecipeError, which names the key,
    if the recipe does not suit a bundle.
    """
    bundles = {choice.bundle: read_bundle(Path(choice.bundle)) for choice in recipe.judges}
    judges: list[Judge] = []
    for camera in recipe.cameras:
        alone = recipe.seen_by(camera)
        found = [judge_of(alone, choice, bundles[choice.bundle]) for choice in alone.judges]
        _check_fusion(alone, found)
        judges += found
    return tuple(judges)


def by_camera(judges: Sequence[Judge]) -> dict[str, tuple[Judge, ...]]:
    """Return the judges of each camera, by the camera's name, in the order of the recipe."""
    found: dict[str, tuple[Judge, ...]] = {}
    for judge in judges:
        found[judge.camera] = (*found.get(judge.camera, ()), judge)
    return found


def judge_of(recipe: Recipe, choice: JudgeChoice, bundle: Bundle) -> Judge:
    """Make the judge that `choice` describes. Raise RecipeError if the recipe does not suit the bundle."""
    _check_keys(choice, bundle, recipe)
    manifest = manifest_of(recipe, choice, bundle)
    ignored = ignored_of(recipe, choice, preprocess_of(recipe, choice, bundle), bundle, manifest.picture)
    rule = _rule_of(choice, bundle, manifest, recipe, ignored)
    return Judge(recipe=recipe, choice=choice, bundle=bundle, rule=rule, ignored=ignored)


def digest_of(judges: tuple[Judge, ...]) -> str:
    """Return the bundle's digest if there is one judge, else the SHA-256 of all bundles' digests in order."""
    digests = [judge.bundle.digest for judge in judges]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def rules_of(judges: Sequence[Judge], fusion: Fusion | None) -> Rules:
    """Return the rules by which the publish stage turns the outputs of one camera's judges into a judgement."""
    return Rules(
        judges=tuple(judge.rule for judge in judges),
        outputs=tuple(judge.manifest.answers for judge in judges),
        fusion=fusion,
    )


def pictures_of(judges: tuple[Judge, ...]) -> dict[str, str]:
    """Return the SHA-256 of each master, drawing and mask that the recipe names. The keys are the paths.

    Pictures in bundles are left out, since a bundle verifies its own files.
    """
    paths = [path for judge in judges for path in (*master_files(judge.choice), *judge.drawing_files)]
    paths += [judge.choice.ignore for judge in judges if judge.choice.ignore]
    return {path: digest_of_picture(path) for path in paths}


def _rule_of(
    choice: JudgeChoice, bundle: Bundle, manifest: Manifest, recipe: Recipe, ignored: Mask | None
) -> Rule:
    """Return a judge's rule. Raise RecipeError if a threshold has an unknown kind or is out of range.

    `manifest` is the bundle's, with the tiles that count.
    """
    key = recipe.key(choice, "thresholds")
    unknown = sorted(set(choice.thresholds) - set(manifest.kinds))
    if unknown:
        raise RecipeError(
            f"{key}: the bundle has no kind {unknown[0]!r}; its kinds are {', '.join(manifest.kinds)}"
        )
    thresholds = {**manifest.thresholds, **choice.thresholds}
    for kind, threshold in thresholds.items():
        if "score" not in manifest.answers and not 0 <= threshold <= 1:
            raise RecipeError(f"{key} {kind}: expected a number from 0 to 1, found {threshold:g}")
        if not math.isfinite(threshold):
            raise RecipeError(f"{key} {kind}: expected a finite number, found {threshold}")
    scores = manifest.calibration.scores if manifest.calibration else None
    return Rule(
        name=choice.name,
        bundle=bundle.digest,
        thresholds={kind: thresholds[kind] for kind in manifest.kinds},
        stride=manifest.stride,
        min_area_px=recipe.rule.min_area_px,
        masks=recipe.rule.regions == "masks",
        region_from=manifest.region_from,
        calibration=None if scores is None else np.array(scores),
        calibrated_at={kind: manifest.thresholds[kind] for kind in manifest.kinds},
        ignored=None if ignored is None else in_cells(ignored, manifest.stride),
    )


def drawing_input(picture: NDArray[np.uint8], bundle: Bundle) -> NDArray[np.uint8]:
    """Convert a drawing, `(H, W)` or `(H, W, 3)` BGR uint8 of any size, to an input `(1, C, H, W)` uint8."""
    spec = bundle.manifest.input
    image = np.empty(spec.shape, np.uint8)
    Preparer(Preprocess(min_contrast=0), spec, None).prepare(picture, "", image)
    return image


def _check_keys(choice: JudgeChoice, bundle: Bundle, recipe: Recipe) -> None:
    """Raise RecipeError if the recipe names masters or drawings that the model does not use."""
    for key, method in (("masters", "comparator"), ("drawings", "matcher")):
        if getattr(choice, key) and bundle.manifest.method != method:
            raise RecipeError(
                f"{recipe.key(choice, key)}: only a {method} compares parts with {key}, and "
                f"{bundle.manifest.name} has the method {bundle.manifest.method!r}: delete the key, or name a "
                f"{method}'s bundle"
            )


def _check_fusion(recipe: Recipe, judges: Sequence[Judge]) -> None:
    """Raise RecipeError if a bundle has no calibration, or was calibrated on too few parts for the fusion."""
    if recipe.fusion is None:
        return
    # `least` is the lowest p-value that each judge can give.
    fusion, least = recipe.fusion, []
    for judge in judges:
        if judge.rule.calibration is None:
            raise RecipeError(
                f"[fusion]: judge {judge.choice.name!r} has a bundle without calibration, so its scores have "
                "no p-value: run trt-build calibrate"
            )
        least.append(1 / (len(judge.rule.calibration) + 1))
    for judge, p in zip(judges, least, strict=True):
        if fusion.how == "bonferroni" and not suffices(len(judges) * p, fusion):
            raise RecipeError(
                f"[fusion] false_reject: {fusion.false_reject:g}: judge {judge.choice.name!r} was calibrated "
                f"on {1 / p - 1:.0f} parts and could never reject; with {len(judges)} judges it needs "
                f"{math.ceil(len(judges) / fusion.false_reject / ROUNDING) - 1}"
            )
    if not suffices(combine(least, fusion.how), fusion):
        counts = ", ".join(f"{1 / p - 1:.0f}" for p in least)
        raise RecipeError(
            f"[fusion] false_reject: {fusion.false_reject:g}: the judges were calibrated on {counts} parts and "
            "could never reject, even together: calibrate on more parts"
        )


class Areas(TypedDict):
    """The sizes in bytes of a slot's areas: one for the frame, and two for each judge (input and outputs)."""

    frame: int
    tensors: list[int]
    outputs: list[int]


def areas_of(judges: Sequence[Judge]) -> Areas:
    """Return the sizes of the areas that one part needs in the shared memory of a camera with these judges."""
    manifests = [judge.manifest for judge in judges]
    return Areas(
        frame=judges[0].recipe.source.nbytes,
        tensors=[math.prod(manifest.picture.shape) for manifest in manifests],
        outputs=[outputs_nbytes(manifest.answers) for manifest in manifests],
    )
