"""Reads a recipe file, reports each mistake with the key that is wrong, and makes the paths absolute."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from .documents.mistakes import mistakes
from .documents.toml import read_toml, toml_key
from .endpoints import MOST_PORT, is_endpoint, is_open, port_of
from .errors import RecipeError, together
from .messages import REASONS, UNKNOWN_REASONS
from .recipe import (
    MOST_CAMERAS,
    MOST_JUDGES,
    Camera,
    Crop,
    Folder,
    JudgeChoice,
    Publish,
    Recipe,
    SimulatedBelt,
    Source,
    Synthetic,
    Video,
)
from .recipe_belt import wrong_belt
from .text import readable

#: Far more than a recipe with all keys and MOST_JUDGES judges has.
RECIPE_BYTES = 262_144
#: Mistakes that are looked for at most.
MOST_MISTAKES = 200


def read_recipe(path: Path) -> tuple[Recipe, str]:
    """Read a recipe file. Return the recipe with absolute paths, and the SHA-256 of the file.

    Raise RecipeError if the recipe is wrong. The error names the file and every wrong key and says what to do.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(RECIPE_BYTES + 1)
    except OSError as error:
        raise RecipeError(f"{path}: cannot read the recipe: {error.strerror}") from error
    if len(data) > RECIPE_BYTES:
        raise RecipeError(f"{path}: longer than {RECIPE_BYTES} bytes: is this the recipe of a line?")
    try:
        recipe = _recipe_of(read_toml(data))
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from error
    folder = path.parent.resolve()
    if readable(str(folder)) != str(folder):
        raise RecipeError(
            f"{readable(str(path))}: the folder is {readable(str(folder))}: move it to one whose name is UTF-8"
        )
    return _absolute(recipe, folder), hashlib.sha256(data).hexdigest()


def _recipe_of(document: dict[str, Any]) -> Recipe:
    try:
        recipe = msgspec.convert(document, Recipe)
    except msgspec.ValidationError as error:
        found = mistakes(Recipe, document, lambda key: toml_key(document, key))
        said = list(islice(found, MOST_MISTAKES))
        raise RecipeError(together(said or [str(error)])) from error
    if said := list(_wrong_cameras(recipe)):
        raise RecipeError(together(said))
    recipe = _with_names(recipe)
    if said := list(_contradictions(recipe)):
        raise RecipeError(together(said))
    return recipe


def _wrong_cameras(recipe: Recipe) -> Iterator[str]:
    """Yield a message for each mistake in the choice of cameras."""
    if (recipe.source is None) != bool(recipe.camera):
        found = "both" if recipe.camera else "neither"
        yield f"expected either [source], for one camera, or [[camera]] for each of several, found {found}"
    if len(recipe.camera) > MOST_CAMERAS:
        yield f"[[camera]]: {len(recipe.camera)} cameras: a line has room for {MOST_CAMERAS}"
    names = Counter(camera.name for camera in recipe.camera)
    for name, count in names.items():
        if count > 1:
            yield f"[[camera]] name: {count} are called {name!r}: verdicts could not tell them apart"
    for camera in recipe.camera:
        if camera.source.camera not in ("camera", camera.name):
            yield f'[[camera]] "{camera.name}" source.camera: is {camera.source.camera!r}: delete the key'
    for judge in recipe.judge:
        known = names or {recipe.source.camera: 1} if recipe.source or names else {}
        if judge.camera and judge.camera not in known:
            yield f"{recipe.key(judge, 'camera')}: is {judge.camera!r}; cameras are {', '.join(known)}"
    for name in names if recipe.judge else ():
        if not any(judge.camera in ("", name) for judge in recipe.judge):
            yield f'[[camera]] "{name}": no [[judge]] inspects its frames: write one with camera = "{name}"'


def _with_names(recipe: Recipe) -> Recipe:
    """Return the recipe with each [[camera]]'s name in its source, and the first one's as `source`."""
    if not recipe.camera:
        return recipe
    cameras = tuple(
        msgspec.structs.replace(camera, source=msgspec.structs.replace(camera.source, camera=camera.name))
        for camera in recipe.camera
    )
    return msgspec.structs.replace(recipe, camera=cameras, source=cameras[0].source)


def _contradictions(recipe: Recipe) -> Iterator[str]:
    """Yield a message for each mistake that the type of a key cannot show, such as a contradiction."""
    timing = recipe.timing
    for camera in recipe.cameras:
        yield from _wrong_source(_place(recipe, camera), camera.source)
    if timing.guard_ms >= timing.deadline_ms:
        yield (
            f"[timing] guard_ms: {timing.guard_ms:g} leaves nothing of deadline_ms, {timing.deadline_ms:g}: "
            "make it smaller"
        )
    if recipe.recorder and (box := recipe.recorder.box).after >= box.parts:
        yield f"[recorder.box] after: {box.after} leaves no room for the event in {box.parts} parts: lower it"
    for reason in recipe.alarms.consecutive_of:
        if reason not in REASONS:
            yield f"[alarms.consecutive_of] {reason}: is no reason; known are {', '.join(REASONS)}"
    yield from _wrong_judges(recipe)
    yield from wrong_belt(recipe)
    for camera in recipe.cameras:
        yield from _wrong_crop("[preprocess] crop", recipe.preprocess.crop, recipe, camera)
        for judge in recipe.seen_by(camera).judge:
            yield from _wrong_crop(recipe.key(judge, "crop"), judge.crop, recipe, camera)
    for reason in recipe.rule.unknown:
        if reason not in UNKNOWN_REASONS:
            known = ", ".join(UNKNOWN_REASONS)
            yield f"[rule.unknown] {reason}: is no reason for `unknown`; known are {known}"
    if recipe.rule.unknown.get("hold") == "accept":
        yield "[rule.unknown] hold: a line is held so that no part passes: take this key out"
    yield from _wrong_publish(recipe.publish)


def _wrong_publish(publish: Publish) -> Iterator[str]:
    """Yield a message for each mistake in the choice of endpoints and of those who confirm."""
    for endpoint in publish.endpoints:
        yield from _wrong_endpoint("endpoints", endpoint, has_keys=bool(publish.keys))
    if publish.replay:
        yield from _wrong_endpoint("replay", publish.replay, has_keys=bool(publish.keys))
    if publish.replay in publish.endpoints:
        yield f"[publish] replay: {publish.replay!r} is one of the endpoints: write another port or path"
    if publish.confirm and not publish.replay:
        yield "[publish] confirm: subscribers confirm to the replay endpoint: write replay, too"
    for name, count in Counter(publish.confirm).items():
        if count > 1:
            yield f"[publish] confirm: {name!r} is written {count} times: write each name once"


def _wrong_endpoint(key: str, endpoint: str, *, has_keys: bool) -> Iterator[str]:
    if (port_of(endpoint) or 0) > MOST_PORT:
        yield f"[publish] {key}: {endpoint!r} has a port above {MOST_PORT}: write one that there is"
    elif not is_endpoint(endpoint):
        yield f"[publish] {key}: {endpoint!r} is neither ipc://PATH nor tcp://HOST:PORT: write one of them"
    elif is_open(endpoint) and not has_keys:
        yield (
            f"[publish] {key}: {endpoint!r} can be reached from other machines, and verdicts without keys are "
            "not put on a network: make keys by `edge keys new line --folder FOLDER` and write keys = "
            '"FOLDER", or bind 127.0.0.1'
        )


def _place(recipe: Recipe, camera: Camera) -> str:
    """Return where a camera's source stands in the recipe, for error messages."""
    return f'[[camera]] "{camera.name}" source' if recipe.camera else "[source]"


def _wrong_source(place: str, source: Source) -> Iterator[str]:
    """Yield a message, which begins with `place`, for each contradiction in a source."""
    if isinstance(source, Video) and source.bayer:
        yield (
            f'{place} color: a video comes without raw pixels: write "bgr" or "gray", or give raw pictures '
            'by kind = "folder"'
        )
    if isinstance(source, Video):
        port = re.match(r"^\w+://[^/?#\s]*:(\d+)(?:[/?#]|$)", source.address)
        if port and int(port[1]) > MOST_PORT:
            yield f"{place} address: the port {port[1]} is above {MOST_PORT}: write the camera's"
    if isinstance(source, Folder) and source.watch and source.repeat:
        yield f"{place} repeat: a folder that is watched has no last picture: take out repeat or watch"


def _wrong_judges(recipe: Recipe) -> Iterator[str]:
    """Yield a message for each mistake in the choice of models."""
    if bool(recipe.bundle) == bool(recipe.judge):
        found = "both" if recipe.judge else "neither"
        yield f"expected either `bundle`, for one model, or [[judge]] for each of several, found {found}"
    single = (recipe.masters, recipe.drawings, recipe.ignore, recipe.tiles, recipe.rule.thresholds)
    if recipe.judge and any(single):
        yield (
            "where there are [[judge]] sections, masters, drawings, ignore, tiles and thresholds belong into "
            "each of them"
        )
    if len(recipe.judge) > MOST_JUDGES:
        yield f"[[judge]]: {len(recipe.judge)} judges: a verdict has room for {MOST_JUDGES}"
    for name, count in Counter(judge.name for judge in recipe.judge).items():
        if count > 1:
            yield f"[[judge]] name: {count} are called {name!r}: verdicts could not tell them apart"


def _wrong_crop(key: str, crop: Crop | None, recipe: Recipe, camera: Camera) -> Iterator[str]:
    """Yield a message, which begins with `key`, if the crop leaves the frame or is smaller than 8x8 pixels."""
    source = camera.source
    if crop and not (
        crop[0] >= 0
        and crop[1] >= 0
        and crop[2] >= 8
        and crop[3] >= 8
        and crop[0] + crop[2] <= source.width
        and crop[1] + crop[3] <= source.height
    ):
        yield (
            f"{key}: {list(crop)} (x, y, width, height) does not lie in the {source.width}x{source.height} "
            f"frame of {_place(recipe, camera)}, with at least 8x8 pixels"
        )


def _absolute(recipe: Recipe, folder: Path) -> Recipe:
    """Return the recipe with absolute paths. Its relative paths start at `folder`, where its file is."""

    def absolute(text: str) -> str:
        return str(folder / text) if text else text

    def found(source: Source) -> Source:
        if isinstance(source, Synthetic | SimulatedBelt):
            return msgspec.structs.replace(source, truth=absolute(source.truth))
        if isinstance(source, Folder):
            return msgspec.structs.replace(source, files=absolute(source.files))
        if (folder / source.address).is_file():
            return msgspec.structs.replace(source, address=absolute(source.address))
        return source

    def paths_of(judge: Recipe | JudgeChoice) -> dict[str, str]:
        return {key: absolute(getattr(judge, key)) for key in ("bundle", "masters", "drawings", "ignore")}

    judges = tuple(msgspec.structs.replace(judge, **paths_of(judge)) for judge in recipe.judge)
    cameras = tuple(msgspec.structs.replace(camera, source=found(camera.source)) for camera in recipe.camera)
    publish = msgspec.structs.replace(recipe.publish, keys=absolute(recipe.publish.keys))
    recorder = recipe.recorder
    if recorder:
        recorder = msgspec.structs.replace(recorder, folder=absolute(recorder.folder))
    journal = recipe.journal
    if journal:
        journal = msgspec.structs.replace(journal, folder=absolute(journal.folder))
    return msgspec.structs.replace(
        recipe,
        **paths_of(recipe),
        judge=judges,
        camera=cameras,
        source=found(recipe.source),
        recorder=recorder,
        journal=journal,
        publish=publish,
    )
