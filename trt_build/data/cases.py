"""Makes the inputs of an engine from any data set, one case a picture, and asks an engine about them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from edge.bundle import Bundle, Model
from edge.engines import open_engine
from edge.engines.base import Engine, Outputs
from edge.judges.arming import armed_engine
from edge.judges.golden import check_numbers, judge
from edge.manifest import InputSpec, ModelManifest
from edge.recipe import EngineChoice
from trt_build.data.pairs import Pair
from trt_build.data.parts import LabelledPart, picture
from trt_build.terminal.progress import counted

Image = npt.NDArray[np.uint8]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Case:
    """The input of an engine, and its name for people."""

    name: str
    image: Image  # (1, C, H, W) uint8
    master: Image | None = None  # a board's master (1, C, H, W), or all drawings of a product (V, C, H, W)


def evenly(things: Sequence[T], count: int) -> list[T]:
    """Return `count` things, or all if there are fewer, in their order and at even distances."""
    few = min(count, len(things))
    return [things[i * len(things) // few] for i in range(few)]


def pair_cases(pairs: Sequence[Pair], spec: InputSpec) -> Iterator[Case]:
    """Yield a case for each board with its master."""
    for pair in pairs:
        yield Case(name=pair.name, image=spec.tensor(pair.board), master=spec.tensor(pair.master))


def part_cases(parts: Sequence[LabelledPart], spec: InputSpec) -> Iterator[Case]:
    """Yield a case for each part of a folder."""
    for part in parts:
        yield Case(name=part.name.replace("/", "-"), image=picture(part, spec))


def answer(engine: Engine, manifest: ModelManifest, case: Case) -> Outputs:
    """Return an engine's outputs for a case; EngineError if one is not a number."""
    found = judge(engine, manifest, case.image, case.master)
    check_numbers(f"{case.name} on {engine.name} {engine.precision}", found)
    return found


@contextmanager
def judging_engine(choice: EngineChoice, bundle: Model) -> Iterator[Engine]:
    """Open the engine that a line would take; a draft's is not checked, as it has no golden frames yet."""
    with ExitStack() as opened:
        if isinstance(bundle, Bundle):
            yield opened.enter_context(armed_engine(choice, bundle)).engine
        else:
            yield opened.enter_context(open_engine(choice, bundle))


def judge_all(bundle: Model, choice: EngineChoice, cases: Iterable[Case]) -> list[Outputs]:
    """Return the outputs of an engine for each case, in their order."""
    with open_engine(choice, bundle) as engine:
        return answers_of(engine, bundle.manifest, cases)


def answers_of(engine: Engine, manifest: ModelManifest, cases: Iterable[Case]) -> list[Outputs]:
    """Return the outputs of an open engine for each case, in their order."""
    shown = counted(cases, f"judging on {engine.name} {engine.precision}")
    return [answer(engine, manifest, case) for case in shown]
