"""Opens the engines of all judges of a line, one for each bundle, and says which camera's judges they serve."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from ..engines.base import Engine
from ..engines.trials import Trials
from ..judges.arming import Armed, armed_engine
from ..judges.gallery import Gallery
from ..judges.judge import Judge
from ..memory.ring import Ring
from ..messages import Running
from ..recipe import EngineChoice
from .judge_engine import JudgeEngine, Looks
from .references import References

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ArmedCameras:
    """What infer has of each camera, by the camera's name, and what runs."""

    cameras: dict[str, Looks]
    running: Running


@contextmanager
def armed_cameras(
    choice: EngineChoice, judges: Mapping[str, Sequence[Judge]], rings: Mapping[str, Ring], trials: Trials
) -> Iterator[ArmedCameras]:
    """Open the engines of each camera's judges, which reproduced the golden frames of their bundles.

    Raise EngineError if an engine cannot be opened, and EngineLost if only a new process can go on.
    """
    tiles: Counter[tuple[str, int]] = Counter()
    for of_camera in judges.values():
        for key, judge in zip(_keys(of_camera), of_camera, strict=True):
            tiles[key] = max(tiles[key], judge.manifest.grid.count)
    armed: dict[tuple[str, int], Armed] = {}
    with ExitStack() as opened:
        for of_camera in judges.values():
            for key, judge in zip(_keys(of_camera), of_camera, strict=True):
                if key not in armed:
                    armed[key] = opened.enter_context(armed_engine(choice, judge.bundle, tiles[key], trials))
        cameras = {
            name: Looks(
                ring=rings[name],
                frame=of_camera[0].recipe.source.shape,
                judges=[
                    _with_engine(judge, armed[key].engine)
                    for key, judge in zip(_keys(of_camera), of_camera, strict=True)
                ],
            )
            for name, of_camera in judges.items()
        }
        yield ArmedCameras(cameras=cameras, running=_running(list(armed.values()), cameras))


def _keys(judges: Sequence[Judge]) -> list[tuple[str, int]]:
    """Return a key for the engine of each judge of a camera: its bundle, and how many such judges come before.

    Judges of different cameras with the same key share an engine. Judges of one camera do not, so a part gives
    an engine no more samples than a judge has tiles.
    """
    before: Counter[str] = Counter()
    keys = []
    for judge in judges:
        keys.append((judge.bundle.digest, before[judge.bundle.digest]))
        before[judge.bundle.digest] += 1
    return keys


def _running(armed: Sequence[Armed], cameras: Mapping[str, Looks]) -> Running:
    """Return what the metrics and preprocess must know about the engines."""
    return Running(
        engine=", ".join(dict.fromkeys(each.engine.name for each in armed)),
        precision=", ".join(dict.fromkeys(each.engine.precision for each in armed)),
        warped_by_engine={
            name: tuple(judge.engine.warps_frames for judge in looks.judges) for name, looks in cameras.items()
        },
        left_out={name: why for each in armed for name, why in each.left_out.items()},
        fell_back=tuple(dict.fromkeys(name for each in armed for name in each.fell_back)),
    )


def _with_engine(judge: Judge, engine: Engine) -> JudgeEngine:
    """Return the judge's engine, and the features of masters or the drawings that it compares parts with."""
    manifest = judge.bundle.manifest
    calibration, running = manifest.calibration, f"{engine.name} {engine.precision}"
    if calibration and calibration.engine != running:
        log.warning(
            "bundle %s was calibrated on %s: on %s it does not promise its rate of false rejects",
            manifest.name,
            calibration.engine,
            running,
        )
    masters, references = judge.masters(), None
    grid = judge.manifest.grid if judge.manifest.grid.count > 1 else None
    if masters is not None:
        limit_bytes = judge.recipe.engine.reference_mb * 2**20
        references = References(engine, lambda view: masters.get(view).input, limit_bytes, grid)
        references.warm(judge.views())
    gallery = Gallery(engine, judge.drawings()) if manifest.matches_drawings else None
    return JudgeEngine(
        engine=engine,
        warper=judge.warper(),
        references=references,
        gallery=gallery,
        grid=grid,
        stride=manifest.stride,
    )
