"""How a line makes its verdicts, written down for publish, which then needs no bundle to start anew."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ..recipe import Fusion
from .decide import Rule

BENCH = "bench.json"


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The judges' rules and the shapes of what they say, in the recipe's order, and how they agree."""

    rules: tuple[Rule, ...]
    outputs: tuple[dict[str, tuple[int, ...]], ...]  # name -> shape, in the order in which they lie
    fusion: Fusion | None = None


def write_bench(folder: Path, bench: Bench) -> None:
    """Write it into a run's folder."""
    (folder / BENCH).write_bytes(msgspec.json.encode(bench, enc_hook=lambda array: array.tolist()))


def read_bench(folder: Path) -> Bench:
    """What `write_bench` wrote."""

    def array(kind: type[Any], values: list[float]) -> Any:
        return np.array(values)

    return msgspec.json.decode((folder / BENCH).read_bytes(), type=Bench, dec_hook=array)
