"""Runs OpenVINO with only some of this CPU's instructions, to measure how answers differ on older CPUs.

The tolerances of a bundle must hold on every machine, not only on the machine that packs the bundle. An
environment variable tells oneDNN, the library inside OpenVINO, which instructions to leave unused. oneDNN reads
the variable only once, so each instruction set is tried in a new process.
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
#: Instruction sets without dot products of bytes: oneDNN's name -> Linux's name of the CPU flag it needs.
WITHOUT_DOT_PRODUCTS = {"AVX2": "avx2", "AVX512_CORE": "avx512bw"}


def playable() -> list[str]:
    """Return oneDNN's names of this CPU's instruction sets that have no dot products of bytes."""
    return [name for name, needed in WITHOUT_DOT_PRODUCTS.items() if needed in processor.instructions()]


def judge_with(instructions: str, bundle: Model, precision: Precision, cases: Sequence[Case]) -> list[Outputs]:
    """Return OpenVINO's outputs for each case, computed only with these CPU `instructions` and older ones."""
    choice = EngineChoice(kind="openvino", precision=precision)
    with (
        working(f"judging {len(cases)} pictures with {instructions}"),
        ProcessPoolExecutor(1, get_context("spawn"), os.putenv, (VARIABLE, instructions)) as alone,
    ):
        return alone.submit(_judge, bundle, choice, list(cases)).result()


def _judge(bundle: Model, choice: EngineChoice, cases: Sequence[Case]) -> list[Outputs]:
    """Return OpenVINO's outputs for each case. Show no progress: the parent process uses the terminal."""
    with open_engine(choice, bundle) as engine:
        return [answer(engine, bundle.manifest, case) for case in cases]
