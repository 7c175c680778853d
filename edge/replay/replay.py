"""Replays a black-box file with the recipe, the bundles and the engine of its line."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import msgspec

from ..engines.trials import Trials
from ..errors import EngineError, RecordingError
from ..image.health import HealthMeter
from ..judges.judge import Judge, areas_of, by_camera, digest_of, pictures_of, read_judges, rules_of
from ..memory.ring import Ring
from ..recipe import EngineChoice, EngineKind, Recipe
from ..recipe_file import read_recipe
from ..recorder.box import Box, Head, Row
from ..stages.armed import ArmedCameras, armed_cameras
from ..stages.verdict import Identity
from ..wire import verdict_from
from .compare import Compared, differences, why_left_out
from .stages import Stages


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a replay found. `engine` is the one of this machine, `engine_then` that of the line."""

    engine: str
    engine_then: str
    compared: list[Compared]

    @property
    def equal(self) -> int:
        """The number of parts whose verdict came out the same."""
        return sum(not one.left_out and not one.differences for one in self.compared)

    @property
    def different(self) -> list[Compared]:
        """The parts whose verdict came out otherwise."""
        return [one for one in self.compared if one.differences]

    @property
    def left_out(self) -> dict[str, int]:
        """How many parts could not be compared, by the reason."""
        return dict(Counter(one.left_out for one in self.compared if one.left_out))


def replay(path: Path, recipe: Path | None = None, bundles: Sequence[str] = ()) -> Report:
    """Replay the black-box file at `path`. Return how the verdicts compare.

    `recipe` is a recipe file to use in place of the recipe in the black box. `bundles` are folders of bundles
    to use in place of those in the recipe, each `FOLDER` or `JUDGE=FOLDER`. Raise RecordingError if the file is
    damaged, if recipe, bundle or a master is not the one of the line, or if no part can be compared.
    """
    with Box(path) as box, ExitStack() as opened:
        head = box.head()
        judges = _judges(head, _recipe(head, recipe, path), bundles, path)
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="linejudge-replay-")))
        stages, engine = opened.enter_context(_stages(head, judges, folder))
        compared = [_compared(box, head, stages, row) for row in box.rows()]
    if all(one.left_out for one in compared):
        raise RecordingError(
            f"{path}: none of {len(compared)} parts has both a frame and a verdict that follows from it"
        )
    then = f"{head.running.engine} {head.running.precision}" if head.running else "not known"
    return Report(engine=engine, engine_then=then, compared=compared)


def _recipe(head: Head, given: Path | None, path: Path) -> Recipe:
    if given is None:
        return head.recipe
    recipe, digest = read_recipe(given)
    if digest != head.recipe_digest:
        raise RecordingError(
            f"{given}: is not the recipe of {path}: expected SHA-256 {head.recipe_digest[:12]}, found "
            f"{digest[:12]}"
        )
    return recipe


def _judges(head: Head, recipe: Recipe, bundles: Sequence[str], path: Path) -> tuple[Judge, ...]:
    """Return the judges of the recipe. Raise RecordingError if they are not those of the line."""
    judges = read_judges(_with_bundles(recipe, bundles))
    if (found := digest_of(judges)) != head.bundle_digest:
        names = ", ".join(dict.fromkeys(judge.choice.bundle for judge in judges))
        raise RecordingError(
            f"{names}: not what judged the parts in {path}: expected SHA-256 {head.bundle_digest[:12]}, found "
            f"{found[:12]}: name the bundle by --bundle"
        )
    pictures = pictures_of(judges)
    if sorted(pictures.values()) != sorted(head.pictures.values()):
        changed = [name for name, digest in pictures.items() if digest not in head.pictures.values()]
        raise RecordingError(
            f"{path}: masters, drawings or masks are not those of the line: {', '.join(changed) or 'some'} "
            f"{'have changed' if changed else 'are missing'}: name by --recipe a recipe beside which they lie"
        )
    return tuple(replace(judge, pictures=pictures) for judge in judges)


def _with_bundles(recipe: Recipe, bundles: Sequence[str]) -> Recipe:
    """Return the recipe with the bundles that `--bundle` names."""
    for given in bundles:
        name, has_name, folder = given.partition("=")
        folder = str(Path(folder if has_name else given).resolve())
        if not recipe.judge and not has_name:
            recipe = msgspec.structs.replace(recipe, bundle=folder)
            continue
        if has_name and name not in {judge.name for judge in recipe.judges}:
            known = ", ".join(judge.name for judge in recipe.judges)
            raise RecordingError(f"--bundle {given}: no judge is called {name!r}; there are {known}")
        if not recipe.judge:
            recipe = msgspec.structs.replace(recipe, bundle=folder)
            continue
        chosen = tuple(
            msgspec.structs.replace(judge, bundle=folder) if name == judge.name or not has_name else judge
            for judge in recipe.judge
        )
        recipe = msgspec.structs.replace(recipe, judge=chosen)
    return recipe


@contextmanager
def _stages(head: Head, judges: Sequence[Judge], folder: Path) -> Iterator[tuple[Stages, str]]:
    """Yield the stages, and the engine's name and precision: those of the line if they can run here."""
    cameras = by_camera(judges)
    rings = {
        name: Ring.create(folder / f"{name}.ring", slots=1, **areas_of(of_camera))
        for name, of_camera in cameras.items()
    }
    with ExitStack() as opened:
        asked = judges[0].recipe.engine
        choices = [_as_then(head, asked), asked]
        for choice in choices:
            try:
                armed = opened.enter_context(armed_cameras(choice, cameras, rings, Trials()))
                break
            except EngineError:
                if choice is choices[-1]:
                    raise
        preparers = {name: [judge.preparer() for judge in found] for name, found in cameras.items()}
        meters = {name: _meter(found[0]) for name, found in cameras.items()}
        rules = {name: rules_of(found, found[0].recipe.fusion) for name, found in cameras.items()}
        yield Stages(armed.cameras, preparers, meters, rules), _engine_name(armed)


def _meter(judge: Judge) -> HealthMeter:
    recipe = judge.recipe
    return HealthMeter(recipe.preprocess.crop, recipe.source.bayer, is_live=False)


def _as_then(head: Head, asked: EngineChoice) -> EngineChoice:
    """Return the choice of the engine and the precision that the line ran."""
    then = head.running
    if then is None or then.engine not in get_args(EngineKind):
        return asked
    return msgspec.structs.replace(asked, kind=then.engine, precision=then.precision)


def _engine_name(armed: ArmedCameras) -> str:
    return f"{armed.running.engine} {armed.running.precision}"


def _compared(box: Box, head: Head, stages: Stages, row: Row) -> Compared:
    then = verdict_from(bytes(row.verdict))
    frames = {seen.part.camera: seen for seen in row.seen if seen.frame}
    if why := why_left_out(then, frames):
        return Compared(number=row.number, part_id=then.part_id, left_out=why)
    looks = {camera: (seen.part, box.frame(seen.frame or "")) for camera, seen in frames.items()}
    record = stages.record(then, looks, _identity(head))
    found = differences(then, verdict_from(record.body))
    if record.topic.decode() != row.topic:
        found["topic"] = (row.topic, record.topic.decode())
    return Compared(number=row.number, part_id=then.part_id, differences=found)


def _identity(head: Head) -> Identity:
    unknown: Mapping[str, str] = head.recipe.rule.unknown
    return Identity(
        line=head.line,
        run=head.run,
        recipe=head.recipe_digest,
        bundle=head.bundle_digest,
        accepted=frozenset(reason for reason, action in unknown.items() if action == "accept"),
    )
