"""A trained model into ONNX graphs for pictures of one size; a comparator's are two, the others' one.

A comparator has master -> features, run once for each master, and image and features -> outputs. How many
pictures are judged at once is left free: the first dimension of every input and output, `batch`.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from edge.bundle import describe, write_manifest
from edge.errors import EdgeError
from edge.manifest import Artifact, InputSpec, Manifest
from edge.manifest import Method as MethodName
from trt_build.methods.comparator.network import COARSEST, STRIDE, Comparator
from trt_build.methods.comparator.train import load_comparator
from trt_build.methods.loop import CheckpointError, load
from trt_build.methods.table import METHODS

OPSET = 20
BATCH = "batch"  #: what the first dimension of every input and output is called in the graphs
REFERENCE, JUDGE = "reference.fp32.onnx", "judge.fp32.onnx"
EVEN_ODDS = 0.5  # threshold of each kind until `calibrate` sets better ones


class ExportError(EdgeError, ValueError):
    """A checkpoint that cannot be exported as asked."""


def export_checkpoint(checkpoint: Path, folder: Path, *, height: int = 640, width: int = 640) -> None:
    """Write the averaged weights of a checkpoint as a draft: a bundle without thresholds and golden cases.

    A comparator is exported for pictures of this size; the other models have the size they were trained for.
    """
    loaded = load(checkpoint)
    facts = {
        "network": loaded["describe"]["config"],
        "epochs": loaded["epoch"],
        "torch": str(torch.__version__),
    }
    name = loaded["describe"].get("model")
    if name == "comparator":
        model = load_comparator(checkpoint)
        export_comparator(model, folder, height=height, width=width, facts=facts)
    elif name in METHODS:
        export_alone(METHODS[name].load(checkpoint), name, folder, facts=facts)
    else:
        raise CheckpointError(f"{checkpoint}: of a model {name!r}; known are comparator, {', '.join(METHODS)}")


def export_alone(
    model: nn.Module, name: MethodName, folder: Path, *, facts: dict[str, Any] | None = None
) -> None:
    """Write the one graph of a model that judges a picture by itself, and the draft's manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    method = METHODS[name]
    spec = method.spec(model)
    image = _pictures(spec)
    with torch.inference_mode():
        answers = model.eval()(image)
    shapes = {
        key: _one(answer)
        for key, answer in zip(
            method.outputs, (answers,) if isinstance(answers, Tensor) else answers, strict=True
        )
    }
    _export(model, (image,), folder / JUDGE, ["image"], list(method.outputs))
    manifest = Manifest(
        name=folder.name,
        method=name,
        kinds=method.kinds,
        input=spec,
        outputs=shapes,
        stride=spec.height // shapes["map"][2] if "map" in shapes else 1,
        artifacts=(Artifact(role="judge", precision="fp32", **describe(folder, JUDGE)),),
        thresholds=dict.fromkeys(method.kinds, EVEN_ODDS),
        facts=facts or {},
    )
    write_manifest(folder, manifest)


def export_comparator(
    model: Comparator, folder: Path, *, height: int, width: int, facts: dict[str, Any] | None = None
) -> None:
    """Write both graphs and the draft's manifest into the folder; ExportError for a size that does not fit."""
    if height % COARSEST or width % COARSEST:
        raise ExportError(f"expected a size whose sides are multiples of {COARSEST}, found {width}x{height}")
    folder.mkdir(parents=True, exist_ok=True)
    spec = InputSpec(height=height, width=width, color="gray" if model.config.in_channels == 1 else "bgr")
    image = _pictures(spec)
    with torch.inference_mode():
        features = model.eval().encode(image)
        outputs = model.compare(features, image)
    names = [f"feature_{i}" for i in range(len(features))]
    _export(_Reference(model), (image,), folder / REFERENCE, ["master"], names)
    _export(_Judge(model), (image, features), folder / JUDGE, ["image", *names], ["map", "extents"])
    manifest = Manifest(
        name=folder.name,
        method="comparator",
        kinds=model.config.kinds,
        input=spec,
        outputs={name: _one(output) for name, output in zip(("map", "extents"), outputs, strict=True)},
        stride=STRIDE,
        features=tuple(names),
        artifacts=(
            Artifact(role="reference", precision="fp32", **describe(folder, REFERENCE)),
            Artifact(role="judge", precision="fp32", **describe(folder, JUDGE)),
        ),
        thresholds=dict.fromkeys(model.config.kinds, EVEN_ODDS),
        facts=facts or {},
    )
    write_manifest(folder, manifest)


class _Reference(nn.Module):
    def __init__(self, model: Comparator) -> None:
        super().__init__()
        self.model = model

    def forward(self, master: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.model.encode(master))


class _Judge(nn.Module):
    def __init__(self, model: Comparator) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        return self.model.compare(features, image)


def _pictures(spec: InputSpec) -> Tensor:
    """Two, for what is traced with one is taken to hold for one alone."""
    return torch.zeros((2, *spec.shape[1:]), dtype=torch.uint8)


def _one(answer: Tensor) -> tuple[int, ...]:
    """The shape of a single picture's answer."""
    return (1, *answer.shape[1:])


def _export(
    module: nn.Module,
    inputs: tuple[Tensor | list[Tensor], ...],
    path: Path,
    names: list[str],
    outputs: list[str],
) -> None:
    free = {0: torch.export.Dim(BATCH)}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it tells that torchvision is missing
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the exporter's own
        warnings.filterwarnings("ignore", f"# The axis name: {BATCH} will not be used")  # twice, it means
        torch.onnx.export(
            module.eval(),
            inputs,
            path,
            input_names=names,
            output_names=outputs,
            dynamic_shapes=tuple([free] * len(put) if isinstance(put, list) else free for put in inputs),
            opset_version=OPSET,
            external_data=False,
            dynamo=True,
            verbose=False,
        )
    _forget_where(path)


def _forget_where(path: Path) -> None:
    """Leave out of a graph the places in source files, on this machine, that each node came from."""
    model = onnx.load(path)
    for thing in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.functions):
        del thing.metadata_props[:]
    onnx.save(model, path)
