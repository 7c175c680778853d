"""The recipe's judges with their bundles: what each looks at, and when it rejects."""

from __future__ import annotations

import glob
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..bundle import Bundle, read_bundle
from ..errors import RecipeError
from ..image.masters import Masters, digest_of_picture, known_views, master_files, masters_of
from ..image.picture import read_picture
from ..image.prepare import Preparer
from ..recipe import Fusion, JudgeChoice, Preprocess, Recipe
from ..recipe_file import read_recipe
from .decide import Rule
from .fuse import ROUNDING, suffices
from .pvalue import combine
from .rules import Rules


@dataclass(frozen=True, kw_only=True)
class Judge:
    """One model of a line."""

    choice: JudgeChoice
    bundle: Bundle
    rule: Rule
    pictures: dict[str, str] = field(default_factory=dict)  # as `pictures_of` found them when the line started

    def preprocess(self, recipe: Recipe) -> Preprocess:
        """How its parts are laid out, and how well they have to fit their masters."""
        said, fit = recipe.preprocess.register, self.bundle.manifest.fit
        register = (
            said
            if fit is None
            else msgspec.structs.replace(
                said,
                max_residual_px=said.max_residual_px or fit.residual_px,
                max_difference=said.max_difference or fit.difference,
            )
        )
        crop = self.choice.crop or recipe.preprocess.crop
        return msgspec.structs.replace(recipe.preprocess, crop=crop, register=register)

    def masters(self, recipe: Recipe) -> Masters | None:
        """The masters that it compares with; None for a model without."""
        return masters_of(recipe, self.choice, self.preprocess(recipe), self.bundle, self.pictures)

    def views(self, recipe: Recipe) -> list[str]:
        """Views that have a master now."""
        return known_views(recipe, self.choice, self.bundle)

    def preparer(self, recipe: Recipe) -> Preparer:
        """What lays out its parts; the masters that are there now are ready."""
        masters = self.masters(recipe)
        if masters is not None:
            for view in self.views(recipe):
                masters.get(view)  # one that does not fit is said before the line is armed
        return Preparer(self.preprocess(recipe), self.bundle.manifest.input, masters, recipe.source.bayer)

    @property
    def drawing_files(self) -> list[str]:
        """The files that the recipe's `drawings` names."""
        return sorted(glob.glob(self.choice.drawings))

    def drawings(self, recipe: Recipe) -> list[NDArray[np.uint8]]:
        """The drawings of the product, as a matcher takes them; RecipeError where there are none."""
        found = [read_picture(Path(path)) for path in self.drawing_files]
        if not found:
            raise RecipeError(
                f"{recipe.key(self.choice, 'drawings')}: {self.choice.drawings!r} names no file, and "
                f"{self.bundle.manifest.name} compares parts with the drawings of their product: say where "
                "they are"
            )
        return [drawing_input(picture, self.bundle) for picture in found]


def read_line(path: Path) -> tuple[Recipe, str, tuple[Judge, ...]]:
    """A recipe, the SHA-256 of its file, and its judges.

    Raises RecipeError, which names file and key, and BundleError; both say what to do.
    """
    recipe, digest = read_recipe(path)
    try:
        return recipe, digest, read_judges(recipe)
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from error


def read_judges(recipe: Recipe) -> tuple[Judge, ...]:
    """Every judge with its bundle verified.

    Raises BundleError, which names the file, and RecipeError, which names the key; both say what to do.
    """
    judges = []
    for choice in recipe.judges:
        bundle = read_bundle(Path(choice.bundle))
        _check_keys(choice, bundle, recipe)
        judges.append(Judge(choice=choice, bundle=bundle, rule=rule_of(choice, bundle, recipe)))
    _check_fusion(recipe, judges)
    return tuple(judges)


def digest_of(judges: tuple[Judge, ...]) -> str:
    """The identity of what judges: the bundle's digest or, of several, the SHA-256 of their digests."""
    digests = [judge.bundle.digest for judge in judges]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def rules_of(judges: tuple[Judge, ...], fusion: Fusion | None) -> Rules:
    """How verdicts are made of what the judges say."""
    return Rules(
        judges=tuple(judge.rule for judge in judges),
        outputs=tuple(judge.bundle.manifest.answers for judge in judges),
        fusion=fusion,
    )


def pictures_of(judges: tuple[Judge, ...]) -> dict[str, str]:
    """SHA-256 of each master and drawing that the recipe names, by its path; bundles look after their own."""
    paths = [path for judge in judges for path in (*master_files(judge.choice), *judge.drawing_files)]
    return {path: digest_of_picture(path) for path in paths}


def rule_of(choice: JudgeChoice, bundle: Bundle, recipe: Recipe) -> Rule:
    """A judge's rule over its bundle's kinds; RecipeError for a threshold that cannot be meant."""
    manifest = bundle.manifest
    key = recipe.key(choice, "thresholds")
    unknown = sorted(set(choice.thresholds) - set(manifest.kinds))
    if unknown:
        raise RecipeError(
            f"{key}: the bundle knows no {unknown[0]!r}; its kinds are {', '.join(manifest.kinds)}"
        )
    thresholds = {**manifest.thresholds, **choice.thresholds}
    for kind, threshold in thresholds.items():
        if "score" not in manifest.answers and not 0 <= threshold <= 1:
            raise RecipeError(f"{key} {kind}: expected a number from 0 to 1, found {threshold:g}")
        if not math.isfinite(threshold):
            raise RecipeError(f"{key} {kind}: expected a number, found {threshold}: nothing would be rejected")
    scores = manifest.calibration.scores if manifest.calibration else None
    return Rule(
        name=choice.name,
        bundle=bundle.digest,
        thresholds={kind: thresholds[kind] for kind in manifest.kinds},
        stride=manifest.stride,
        min_area_px=recipe.rule.min_area_px,
        region_from=manifest.region_from,
        calibration=None if scores is None else np.array(scores),
        calibrated_at={kind: manifest.thresholds[kind] for kind in manifest.kinds},
    )


def drawing_input(picture: NDArray[np.uint8], bundle: Bundle) -> NDArray[np.uint8]:
    """A drawing, `(H, W)` grey or `(H, W, 3)` BGR of any size, as the model's input."""
    spec = bundle.manifest.input
    image = np.empty(spec.shape, np.uint8)
    Preparer(Preprocess(min_contrast=0), spec, None).prepare(picture, "", image)
    return image


def _check_keys(choice: JudgeChoice, bundle: Bundle, recipe: Recipe) -> None:
    """RecipeError for pictures that the judge would never look at."""
    for key, method in (("masters", "comparator"), ("drawings", "matcher")):
        if getattr(choice, key) and bundle.manifest.method != method:
            raise RecipeError(
                f"{recipe.key(choice, key)}: only a {method} compares parts with {key}, and "
                f"{bundle.manifest.name} is of the method {bundle.manifest.method!r}: take the key "
                f"out, or name a {method}'s bundle"
            )


def _check_fusion(recipe: Recipe, judges: list[Judge]) -> None:
    """RecipeError where a fusion is asked for that the bundles' calibrations cannot give."""
    if recipe.fusion is None:
        return
    fusion, least = recipe.fusion, []  # the rarest p-value that each judge can give
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
                f"on {1 / p - 1:.0f} parts and could never reject; with {len(judges)} judges it takes "
                f"{math.ceil(len(judges) / fusion.false_reject / ROUNDING) - 1}"
            )
    if not suffices(combine(least, fusion.how), fusion):
        counts = ", ".join(f"{1 / p - 1:.0f}" for p in least)
        raise RecipeError(
            f"[fusion] false_reject: {fusion.false_reject:g}: the judges were calibrated on {counts} parts and "
            "could never reject, not even all together: calibrate on more"
        )


class Areas(TypedDict):
    """Bytes of what a slot holds of a part: its frame, and of each judge its input and outputs."""

    frame: int
    tensors: list[int]
    outputs: list[int]


def areas_of(recipe: Recipe, judges: Sequence[Judge]) -> Areas:
    """What a part takes in shared memory."""
    manifests = [judge.bundle.manifest for judge in judges]
    return Areas(
        frame=recipe.source.nbytes,
        tensors=[math.prod(manifest.input.shape) for manifest in manifests],
        outputs=[sum(4 * math.prod(shape) for shape in m.answers.values()) for m in manifests],
    )
