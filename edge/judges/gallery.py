"""Scores a part by how far its embedding is from the nearest embedding of a drawing of the product."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ..engines.base import Engine, Image, Outputs, ask


class Gallery:
    """The embeddings of V drawings, each of length 1, from the engine that also embeds the parts."""

    def __init__(self, engine: Engine, drawings: Iterable[Image]) -> None:
        """Embed `drawings`, each a model input `(1, C, H, W)` uint8. The engine's lane 0 must be idle."""
        self._vectors = np.concatenate([_embedding(engine, drawing) for drawing in drawings])

    def score(self, outputs: Outputs) -> Outputs:
        """Return a part's `score` `(1,)`: 1 minus the highest cosine between its embedding and a drawing's."""
        return {"score": np.float32(1.0) - (self._vectors @ outputs["embedding"][0]).max(keepdims=True)}


def _embedding(engine: Engine, drawing: Image) -> NDArray[np.float32]:
    """Return a drawing's embedding as `(1, D)` float32, in a copy which the engine does not change."""
    return np.array(ask(engine, drawing)["embedding"])
