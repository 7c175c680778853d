"""Makes the inputs of an engine from the pictures of a data set, and runs engines on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from edge.bundle import Bundle, Model
from edge.engines import open_engine
from edge.engines.base import Engine, Outputs
from edge.image.warp import FLAT
from edge.judges.arming import armed_engine
from edge.judges.golden import check_numbers, judge
from edge.manifest import InputSpec, ModelManifest
from edge.recipe import EngineChoice
from trt_build.data.pairs import Pair, fitted
from trt_build.data.parts import LabelledPart, picture
from trt_build.terminal.progress import counted

Image = npt.NDArray[np.uint8]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One input of an engine: a picture, and its master or drawings if the model needs them."""

    name: str
    image: Image  # (1, C, H, W) uint8
    master: Image | None = None  # a board's master (1, C, H, W), or all drawings of a product (V, C, H, W)


def evenly(things: Sequence[T], count: int) -> list[T]:
    """Return `count` of the things, at even distances in the sequence; all of them if there are fewer."""
    few = min(count, len(things))
    return [things[i * len(things) // few] for i in range(few)]


def pair_cases(pairs: Sequence[Pair], spec: InputSpec) -> Iterator[Case]:
    """Yield an engine input for each pair: the board as the picture, with its master, scaled as on a line."""
    for pair in (fitted(pair, spec) for pair in pairs):
        yield Case(name=pair.name, image=spec.tensor(pair.board), master=spec.tensor(pair.master))


def part_cases(parts: Sequence[LabelledPart], spec: InputSpec) -> Iterator[Case]:
    """Yield an engine input for each part, without a master."""
    for part in parts:
        yield Case(name=part.name.replace("/", "-"), image=picture(part, spec))


def painted(case: Case, ignored: npt.NDArray[np.bool_] | None) -> Case:
    """Return the case with what is not judged painted flat. `ignored` is `(H, W)`, or None if all is judged."""
    if ignored is None:
        return case
    return replace(case, image=np.where(ignored, np.uint8(FLAT), case.image))


def answer(engine: Engine, manifest: ModelManifest, case: Case) -> Outputs:
    """Return an engine's outputs for one input. Raise EngineError if an output has a NaN or an infinity."""
    found = judge(engine, manifest, case.image, case.master)
    check_numbers(f"{case.name} on {engine.name} {engine.precision}", found)
    return found


@contextmanager
def judging_engine(choice: EngineChoice, bundle: Model) -> Iterator[Engine]:
    """Open the engine that a line would choose. For a bundle, this engine reproduces the golden frames."""
    with ExitStack() as opened:
        if isinstance(bundle, Bundle):
            yield opened.enter_context(armed_engine(choice, bundle)).engine
        else:
            yield opened.enter_context(open_engine(choice, bundle))


def judge_all(bundle: Model, choice: EngineChoice, cases: Iterable[Case]) -> list[Outputs]:
    """Open an engine, without a check on golden frames, and return its outputs for all `cases`, in order."""
    with open_engine(choice, bundle) as engine:
        return answers_of(engine, bundle.manifest, cases)


def answers_of(engine: Engine, manifest: ModelManifest, cases: Iterable[Case]) -> list[Outputs]:
    """Return the outputs of an open engine for all inputs, in the same order. Show the progress."""
    shown = counted(cases, f"judging on {engine.name} {engine.precision}")
    return [answer(engine, manifest, case) for case in shown]
