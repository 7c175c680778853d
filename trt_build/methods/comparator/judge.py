"""Opens a comparator, from a bundle or from a checkpoint, as a function that judges a board."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.bundle import read_model
from edge.judges import golden
from edge.recipe import EngineChoice
from trt_build.data.cases import judging_engine
from trt_build.figures.boards import FloatArray, Judge, Picture


@contextmanager
def open_judge(model: Path) -> Iterator[Judge]:
    """Yield a function that takes master and board, and returns the map and the extents of the defects.

    `model` is a checkpoint file or the folder of a bundle. A bundle runs on its fastest engine.
    """
    if model.is_file():
        from trt_build.methods.comparator.train import torch_judge
        from trt_build.methods.trained import load_trained

        yield torch_judge(load_trained(model, "comparator").network)
        return
    bundle = read_model(model)
    tensor = bundle.manifest.input.tensor
    with judging_engine(EngineChoice(), bundle) as engine:

        def judge(master: Picture, board: Picture) -> tuple[FloatArray, FloatArray]:
            outputs = golden.judge(engine, bundle.manifest, tensor(board), tensor(master))
            return outputs["map"][0], outputs["extents"][0]

        yield judge
