"""Opens a judge's engine and checks that it reproduces the bundle's golden frames before the line is armed.

If an engine fails this check in one precision, and the recipe names none, a more exact precision is tried. If
the engine cannot be opened or fails in every precision, and the recipe says `auto`, the next slower engine is
tried. So a GPU or processor that computes wrongly makes the line slower, but not wrong. Log, metrics, `edge
check` and an alert say so. An engine that the recipe names is refused if it fails.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import get_args

from ..bundle import Bundle
from ..engines import engine_order, no_engine, processor, select_precisions
from ..engines.base import Engine
from ..engines.compiled import kept
from ..engines.trials import Trials
from ..errors import EngineError, EngineLost, NotReproduced
from ..recipe import EngineChoice, EngineKind, Runtime
from .golden import check_golden

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Armed:
    """An open engine that reproduced the golden frames. `left_out` says why each faster engine is not used.

    `fell_back` names those of them that should run here: a GPU's engine that was built for this bundle, an
    engine on the CPU, or a faster precision.
    """

    engine: Engine
    left_out: dict[str, str]
    fell_back: tuple[str, ...] = ()


@contextmanager
def armed_engine(
    choice: EngineChoice, bundle: Bundle, tiles: int = 1, trials: Trials | None = None
) -> Iterator[Armed]:
    """Open an engine as the recipe chooses, in a precision that reproduces the golden frames.

    An engine that cannot take so many `tiles` at once, those of one part, is left out. So is one that ended an
    earlier process, as `trials` knows. Raise EngineError if no engine is left, or if the one that the recipe
    names fails. Raise EngineLost if the GPU fails so that only a new process can go on.
    """
    trials, left_out = trials or Trials(), dict[str, str]()
    if shortcoming := processor.shortcoming():
        _log.warning("%s", shortcoming)
    with ExitStack() as opened:
        for kind in engine_order(choice, bundle):
            try:
                engine = _open(opened, kind, choice, bundle, tiles, trials, left_out)
                break
            except EngineLost:
                raise
            except EngineError as error:
                if choice.kind != "auto":
                    raise _named(choice, error) from error
                if kind == "constant":
                    raise
                trials.drop(kind)
                left_out[kind] = str(error)
                told = _log.warning if _should_run(kind, bundle) else _log.info
                told("engine %s left out: %s", kind, error)
        else:
            raise no_engine(bundle, left_out)
        fell_back = tuple(name for name in left_out if _should_run(name, bundle))
        yield Armed(engine=engine, left_out=left_out, fell_back=fell_back)


def _open(
    opened: ExitStack,
    kind: EngineKind,
    choice: EngineChoice,
    bundle: Bundle,
    tiles: int,
    trials: Trials,
    left_out: dict[str, str],
) -> Engine:
    """Open and check an engine, and return it. `opened` closes it. Add precisions that fail to `left_out`."""
    if choice.kind == "auto":
        if why := trials.failure(kind):
            raise EngineError(why)
        trials.begin(kind)
    selected = select_precisions(kind, choice, bundle)
    for precision in selected.precisions:
        with ExitStack() as trying:
            engine = trying.enter_context(selected.open(choice, bundle, precision))
            if tiles > engine.most_samples:
                raise EngineError(
                    f"{bundle.manifest.name}: a part has {tiles} tiles, and {engine.name} takes "
                    f"{engine.most_samples} at once: run trt-build build --batch {tiles}, or write fewer tiles"
                )
            try:
                check_golden(engine, bundle)
            except NotReproduced as error:
                if precision == selected.precisions[-1]:
                    raise
                left_out[f"{kind} {precision}"] = str(error)
                _log.warning("%s %s left out, the next precision is tried: %s", kind, precision, error)
                continue
            opened.push(trying.pop_all())
            return engine
    raise AssertionError("an engine has at least one precision")


def _named(choice: EngineChoice, error: EngineError) -> EngineError:
    """Return the error of an engine that the recipe names, with the key that names it."""
    said = str(error).rstrip()
    auto = "" if "engine.kind" in said else "; or set engine.kind to 'auto', and a slower engine may judge"
    return type(error)(f"engine.kind {choice.kind!r}: {said}{auto}")


def _should_run(name: str, bundle: Bundle) -> bool:
    """Return whether an engine that was left out should run here.

    That is all but a GPU's engine that nobody built for this bundle.
    """
    if name not in get_args(Runtime):
        return True
    for _, found in kept(bundle.folder):
        # A description that cannot be read does not say for which of the two libraries it is.
        if name == ("tensorrt" if isinstance(found, str) else found.target.runtime):
            return True
    return False
