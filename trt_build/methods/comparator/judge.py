"""Opens a comparator, from a bundle or from a checkpoint, as a function that judges a board."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge.bundle import read_model
from edge.judges import golden
from edge.manifest import InputSpec
from edge.recipe import EngineChoice
from trt_build.data.cases import judging_engine
from trt_build.data.errors import DatasetError
from trt_build.data.pairs import Pair, fitted, read_pairs
from trt_build.figures.boards import FloatArray, Judge, Picture


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A comparator that is ready to judge, and what it says about its pictures and kinds."""

    judge: Judge
    input: InputSpec
    kinds: tuple[str, ...]
    extents: bool  # it was trained with boxes; otherwise with masks
    thresholds: dict[str, float] | None  # of a calibrated model


@contextmanager
def open_judge(model: Path) -> Iterator[Opened]:
    """Open a checkpoint file or the folder of a bundle. A bundle runs on its fastest engine."""
    if model.is_file():
        yield _of_checkpoint(model)
        return
    bundle = read_model(model)
    manifest, tensor = bundle.manifest, bundle.manifest.input.tensor
    with judging_engine(EngineChoice(), bundle) as engine:

        def judge(master: Picture, board: Picture) -> tuple[FloatArray, FloatArray | None]:
            outputs = golden.judge(engine, manifest, tensor(board), tensor(master))
            return outputs["map"][0], outputs["extents"][0] if "extents" in outputs else None

        yield Opened(
            judge=judge,
            input=manifest.input,
            kinds=manifest.kinds,
            extents="extents" in manifest.outputs,
            thresholds=manifest.thresholds,
        )


def _of_checkpoint(path: Path) -> Opened:
    from trt_build.methods.comparator.network import Comparator
    from trt_build.methods.comparator.train import torch_judge
    from trt_build.methods.trained import load_trained

    network = load_trained(path, "comparator").network
    assert isinstance(network, Comparator)
    return Opened(
        judge=torch_judge(network),
        input=network.config.input,
        kinds=network.config.kinds,
        extents=network.config.extents,
        thresholds=None,
    )


def pairs_for(data: Path, spec: InputSpec, kinds: Sequence[str], *, extents: bool) -> list[Pair]:
    """Return the pairs in `data`, with pictures as the model's input `spec` has them.

    Raise DatasetError if they have defects of other kinds than the model's, or boxes where a model without
    extents needs masks.
    """
    pairs = read_pairs(data, kinds)
    if pairs.labels == "boxes" and not extents:
        raise DatasetError(
            f"{data}: is labelled with boxes, and the model was trained with masks: give masks <id>_mask.png, "
            "black for good boards"
        )
    return [fitted(pair, spec) for pair in pairs]
