"""OpenVINO as processors with fewer instructions compute it, each in a process of its own.

A bundle's tolerances have to hold on every machine, not only on the one that packs it. OpenVINO's library
oneDNN can be told to leave instructions alone. It reads the variable once, so each set needs a fresh process.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from edge.bundle import Model
from edge.engines import open_engine, processor
from edge.engines.base import Outputs
from edge.manifest import Precision
from edge.recipe import EngineChoice
from trt_build.data.cases import Case, answer
from trt_build.terminal.progress import working

VARIABLE = "ONEDNN_MAX_CPU_ISA"
#: oneDNN's names, without dot products of bytes, and the kernel's name of what each needs.
WITHOUT_DOT_PRODUCTS = {"AVX2": "avx2", "AVX512_CORE": "avx512bw"}


def playable() -> list[str]:
    """The sets that this processor has."""
    return [name for name, needed in WITHOUT_DOT_PRODUCTS.items() if needed in processor.instructions()]


def judge_with(instructions: str, bundle: Model, precision: Precision, cases: Sequence[Case]) -> list[Outputs]:
    """What OpenVINO answers to each case with these instructions and those before them alone."""
    choice = EngineChoice(kind="openvino", precision=precision)
    with (
        working(f"judging {len(cases)} pictures with {instructions}"),
        ProcessPoolExecutor(1, get_context("spawn"), os.putenv, (VARIABLE, instructions)) as alone,
    ):
        return alone.submit(_judge, bundle, choice, list(cases)).result()


def _judge(bundle: Model, choice: EngineChoice, cases: Sequence[Case]) -> list[Outputs]:
    """As `judge_all`, without progress: the terminal is the parent's."""
    with open_engine(choice, bundle) as engine:
        return [answer(engine, bundle.manifest, case) for case in cases]
