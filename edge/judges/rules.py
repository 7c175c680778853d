"""Stores the rules by which a line makes verdicts, so that the publish stage can restart without a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ..recipe import Fusion
from .decide import Rule

RULES = "rules.json"


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The rule and the output shapes of each judge of a camera, in order, and how the judges are combined."""

    judges: tuple[Rule, ...]
    outputs: tuple[dict[str, tuple[int, ...]], ...]  # name -> shape, in the order in which they lie
    fusion: Fusion | None = None


def write_rules(folder: Path, rules: Mapping[str, Rules]) -> None:
    """Write the rules, by the names of the cameras, into the folder of a run."""
    (folder / RULES).write_bytes(msgspec.json.encode(rules, enc_hook=lambda array: array.tolist()))


def read_rules(folder: Path) -> dict[str, Rules]:
    """Read the rules that `write_rules` wrote into the folder of a run."""

    def array(kind: type[Any], values: list[float]) -> Any:
        return np.array(values)

    return msgspec.json.decode((folder / RULES).read_bytes(), type=dict[str, Rules], dec_hook=array)
