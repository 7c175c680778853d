"""Opens a judge's engine and checks that it reproduces the bundle's golden frames before the line is armed.

If INT8 on a CPU fails this check and the recipe names no precision, FP32 is tried next. So a CPU that computes
INT8 wrongly makes the line slower, but not wrong. In all other cases, an engine that fails is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from ..bundle import Bundle
from ..engines import processor, select_engine
from ..engines.base import Engine
from ..errors import EngineError, NotReproduced
from ..recipe import EngineChoice
from .golden import check_golden

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Armed:
    """An open engine that reproduced the golden frames. `left_out` says why each faster engine is not used."""

    engine: Engine
    left_out: dict[str, str]


@contextmanager
def armed_engine(choice: EngineChoice, bundle: Bundle, tiles: int = 1) -> Iterator[Armed]:
    """Open a recipe's engine in a precision that reproduces the golden frames, or raise EngineError.

    Raise EngineError also if the engine cannot take so many `tiles` at once, those of one part.
    """
    selected = select_engine(choice, bundle)
    left_out = dict(selected.left_out)
    if shortcoming := processor.shortcoming():
        _log.warning("%s", shortcoming)
    with ExitStack() as opened:
        for precision in selected.precisions:
            engine = opened.enter_context(selected.open(choice, bundle, precision))
            if tiles > engine.most_samples:
                raise EngineError(
                    f"{bundle.manifest.name}: a part has {tiles} tiles, and {engine.name} takes "
                    f"{engine.most_samples} at once: run trt-build build --batch {tiles}, or write fewer tiles"
                )
            try:
                check_golden(engine, bundle)
                break
            except NotReproduced as error:
                if precision == selected.precisions[-1]:
                    raise
                opened.close()
                left_out[f"{selected.kind} {precision}"] = str(error)
                _log.warning("%s %s left out, the next precision is tried: %s", selected.kind, precision, error)
        yield Armed(engine=engine, left_out=left_out)
