"""Reads each view's master, the picture of a good part, once and keeps it ready for comparison with parts."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..bundle import Bundle
from ..errors import BundleError, PartError, RecipeError
from ..manifest import InputSpec
from ..recipe import Bayer, JudgeChoice, Preprocess, Recipe
from .picture import demosaiced, grey, one_channel, read_picture
from .register import Template
from .warp import Warper

#: Returns a view's master, `(H, W)` or `(H, W, 3)` BGR uint8, and where it came from; PartError if it has none.
ReadMaster = Callable[[str], tuple[NDArray[np.uint8], str]]


@dataclass(frozen=True, kw_only=True)
class Master:
    """The master of one view, prepared for the registration of parts and as a model's input."""

    template: Template  # of its crop, for registration
    input: NDArray[np.uint8]  # (1, C, H, W), warped like a part that lies in place


class Masters:
    """Prepares a view's master on its first use. Keeps the `kept` masters that were used last.

    `read` reads a view's master. `shape` is that of the frames: `(H, W)` if grey, `(H, W, 3)` if BGR. `ignored`
    is True at the input's pixels that count neither for the registration nor for the model.
    """

    def __init__(
        self,
        read: ReadMaster,
        preprocess: Preprocess,
        spec: InputSpec,
        shape: tuple[int, ...],
        kept: int = 64,
        ignored: NDArray[np.bool_] | None = None,
    ) -> None:
        self._read, self._preprocess, self._spec, self._shape = read, preprocess, spec, shape
        self._kept, self._ignored = kept, ignored
        self._warper = Warper(preprocess.crop, spec, ignored=ignored)
        self._ready: OrderedDict[str, Master] = OrderedDict()

    def get(self, view: str) -> Master:
        """Return the master of a view.

        Raise PartError if the view has no master, and RecipeError if the master does not fit the frames.
        """
        if view not in self._ready:
            self._ready[view] = self._prepare(*self._read(view))
            if len(self._ready) > self._kept:
                self._ready.popitem(last=False)
        self._ready.move_to_end(view)
        return self._ready[view]

    def _prepare(self, picture: NDArray[np.uint8], name: str) -> Master:
        if len(self._shape) == 2:
            picture = one_channel(picture)
        if picture.shape != self._shape:
            raise RecipeError(
                f"{name}: expected a master of {_words(self._shape)}, like the frames of [source], found "
                f"{_words(picture.shape)}: take the master with the line's own camera, or correct [source]"
            )
        crop = grey(self._warper.crop(picture))
        if int(crop.max()) - int(crop.min()) < self._preprocess.min_contrast:
            raise RecipeError(
                f"{name}: the master shows nothing that a part could be registered to: take it again, in light"
            )
        image = np.empty(self._spec.shape, np.uint8)
        self._warper.warp(picture.shape).apply(picture, image)
        return Master(template=Template(crop, self._preprocess.register, self._ignored), input=image)


def masters_of(
    recipe: Recipe,
    choice: JudgeChoice,
    preprocess: Preprocess,
    bundle: Bundle,
    pictures: Mapping[str, str],
    spec: InputSpec,
    ignored: NDArray[np.bool_] | None = None,
) -> Masters | None:
    """Return a judge's masters: those that the recipe names or, if it names none, those of the bundle.

    Return None if the model needs no master. A file whose SHA-256 differs from that in `pictures` is refused.
    `spec` is the size and colour of a part's whole picture. `ignored` is True at its pixels that count for
    nothing.
    """
    manifest = bundle.manifest
    if not manifest.features:
        return None
    bayer = recipe.source.bayer
    reader = _from_files(choice.masters, bayer, pictures) if choice.masters else _from_bundle(bundle)
    shape = (*recipe.source.shape, 3) if bayer else recipe.source.shape
    return Masters(reader, preprocess, spec, shape, recipe.masters_kept, ignored)


def known_views(recipe: Recipe, choice: JudgeChoice, bundle: Bundle) -> list[str]:
    """Return the views that have a master now, at most `masters_kept`. A line prepares these masters first."""
    if not choice.masters:
        return sorted(bundle.manifest.masters)[: recipe.masters_kept]
    if "{view}" not in choice.masters:
        # One master for all parts; a source without views gives the camera's name as the view.
        return [recipe.source.camera]
    return _views_of(choice.masters)[: recipe.masters_kept]


def _views_of(pattern: str) -> list[str]:
    """Return the views for which a file exists, sorted. `pattern` is a path that contains `{view}`."""
    first, *more = pattern.split("{view}")
    found = glob.glob("*".join(map(glob.escape, (first, *more))))
    ends = "".join(f"(?P=view){re.escape(piece)}" for piece in more[1:])
    view = re.compile(f"{re.escape(first)}(?P<view>[^/]+){re.escape(more[0])}{ends}", re.DOTALL)
    matches = [view.fullmatch(path) for path in found if os.path.isfile(path)]
    return sorted(match["view"] for match in matches if match)


def master_files(choice: JudgeChoice) -> list[str]:
    """Return the paths of all files that the recipe's `masters` names: one for each view, or one for all."""
    if "{view}" not in choice.masters:
        return [str(Path(choice.masters))] if choice.masters else []
    return [str(Path(choice.masters.replace("{view}", view))) for view in _views_of(choice.masters)]


def digest_of_picture(path: str) -> str:
    """Return the SHA-256 of a file as a text, which is empty if the file cannot be read."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return ""


def _from_files(pattern: str, bayer: Bayer | None, pictures: Mapping[str, str]) -> ReadMaster:
    """Return a function that reads a view's master from its file. If `bayer` is set, grey files are raw."""

    def master(view: str) -> tuple[NDArray[np.uint8], str]:
        path = Path(pattern.replace("{view}", view))
        if not view or Path(view).name != view or not path.is_file():
            raise PartError("view", f"no master for view {view!r}: expected it in {path}")
        if pictures.get(str(path), found := digest_of_picture(str(path))) != found:
            raise PartError("view", f"{path}: has changed since the line was started: restart the line")
        picture = read_picture(path)
        return demosaiced(picture, bayer) if bayer and picture.ndim == 2 else picture, str(path)

    return master


def _from_bundle(bundle: Bundle) -> ReadMaster:
    """Return a function that reads a view's master from the bundle."""

    def master(view: str) -> tuple[NDArray[np.uint8], str]:
        try:
            return bundle.master(view), f"{bundle.folder}, master of {view!r}"
        except BundleError as error:
            raise PartError("view", str(error)) from error

    return master


def _words(shape: tuple[int, ...]) -> str:
    colour = "gray" if len(shape) == 2 else "bgr"
    return f"{shape[1]}x{shape[0]} {colour}"
