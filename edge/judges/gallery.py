"""The drawings of a product as a matcher sees them, and how far a part is from the nearest."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ..engines.base import Engine, Image, Outputs, ask


class Gallery:
    """Embeddings of drawings, `(V, D)` float32 of length 1, made once by the engine that looks at the parts."""

    def __init__(self, engine: Engine, drawings: Iterable[Image]) -> None:
        self._vectors = np.concatenate([_embedding(engine, drawing) for drawing in drawings])

    def score(self, outputs: Outputs) -> Outputs:
        """`score` `(1,)`: one minus the cosine with the most similar drawing, 0 (the same) to 2."""
        return {"score": np.float32(1.0) - (self._vectors @ outputs["embedding"][0]).max(keepdims=True)}


def _embedding(engine: Engine, drawing: Image) -> NDArray[np.float32]:
    return np.array(ask(engine, drawing)["embedding"])
