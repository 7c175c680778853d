"""Scores a part by its distance to the nearest drawing of the product, as a matcher sees them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ..engines.base import Engine, Image, Outputs, ask


class Gallery:
    """Keeps the embeddings of drawings, `(V, D)` float32 of length 1, made once by the parts' own engine."""

    def __init__(self, engine: Engine, drawings: Iterable[Image]) -> None:
        """`drawings` are model inputs, `(1, C, H, W)` uint8 each; the engine's lane 0 has to be idle."""
        self._vectors = np.concatenate([_embedding(engine, drawing) for drawing in drawings])

    def score(self, outputs: Outputs) -> Outputs:
        """Return `score` `(1,)` float32 of an `embedding` `(1, D)`: 1 minus the highest cosine, from 0 to 2."""
        return {"score": np.float32(1.0) - (self._vectors @ outputs["embedding"][0]).max(keepdims=True)}


def _embedding(engine: Engine, drawing: Image) -> NDArray[np.float32]:
    """Return a copy of a drawing's embedding `(1, D)`."""
    return np.array(ask(engine, drawing)["embedding"])
