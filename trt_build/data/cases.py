"""Pictures of any kind of data as what an engine is given, one case each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from edge.bundle import Bundle
from edge.engines import open_engine
from edge.engines.base import Engine, Outputs
from edge.judges.arming import armed_engine
from edge.judges.golden import check_numbers, judge
from edge.manifest import InputSpec, Manifest
from edge.recipe import EngineChoice
from trt_build.data.pairs import Pair
from trt_build.data.parts import LabelledPart, picture
from trt_build.terminal.progress import counted

Image = npt.NDArray[np.uint8]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Case:
    """What an engine is given, and the name by which people know it."""

    name: str
    image: Image  # (1, C, H, W) uint8
    master: Image | None = None  # likewise, of a board; of a product (V, C, H, W), all its drawings


def evenly(things: Sequence[T], count: int) -> list[T]:
    """So many of them, or all, in their order and at even distances."""
    few = min(count, len(things))
    return [things[i * len(things) // few] for i in range(few)]


def pair_cases(pairs: Sequence[Pair], spec: InputSpec) -> Iterator[Case]:
    """Boards with their masters, one after another."""
    for pair in pairs:
        yield Case(name=pair.name, image=spec.tensor(pair.board), master=spec.tensor(pair.master))


def part_cases(parts: Sequence[LabelledPart], spec: InputSpec) -> Iterator[Case]:
    """Parts of a folder, one after another."""
    for part in parts:
        yield Case(name=part.name.replace("/", "-"), image=picture(part, spec))


def answer(engine: Engine, manifest: Manifest, case: Case) -> Outputs:
    """What an engine says of a case; EngineError where that is not a number."""
    found = judge(engine, manifest, case.image, case.master)
    check_numbers(f"{case.name} on {engine.name} {engine.precision}", found)
    return found


@contextmanager
def judging_engine(choice: EngineChoice, bundle: Bundle) -> Iterator[Engine]:
    """The engine that a line would take; of a draft, which has no golden frames yet, without their proof."""
    with ExitStack() as opened:
        if bundle.manifest.golden:
            yield opened.enter_context(armed_engine(choice, bundle)).engine
        else:
            yield opened.enter_context(open_engine(choice, bundle))


def judge_all(bundle: Bundle, choice: EngineChoice, cases: Iterable[Case]) -> list[Outputs]:
    """What an engine answers to each case, in their order."""
    with open_engine(choice, bundle) as engine:
        return answers_of(engine, bundle.manifest, cases)


def answers_of(engine: Engine, manifest: Manifest, cases: Iterable[Case]) -> list[Outputs]:
    """What an open engine answers to each case, in their order."""
    shown = counted(cases, f"judging on {engine.name} {engine.precision}")
    return [answer(engine, manifest, case) for case in shown]
