"""Exports a trained model as FP32 ONNX graphs for pictures of one size.

A comparator has two graphs. The first turns a master into features and runs once for each master. The second
turns a picture and these features into the outputs. All other models have one graph. The first dimension of
every input and output, `batch`, is the number of pictures, which is not fixed.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from edge.bundle import describe, write_manifest
from edge.manifest import Artifact, DraftManifest, File, InputSpec, Role
from trt_build.data.unfit import IGNORE
from trt_build.methods.base import Method
from trt_build.methods.good_parts.view import mask_picture
from trt_build.methods.trained import load_trained

OPSET = 20
#: Name of the first dimension of every input and output in the graphs.
BATCH = "batch"
REFERENCE, JUDGE = "reference.fp32.onnx", "judge.fp32.onnx"


def export_checkpoint(
    checkpoint: Path, folder: Path, *, height: int | None = None, width: int | None = None
) -> None:
    """Write the averaged weights of a checkpoint as a draft into `folder`.

    The size in pixels is used for a comparator only; without it, it is that of the training pictures. Other
    models always take pictures of the size that they were trained with.
    """
    trained = load_trained(checkpoint)
    # Checkpoints of comparators did not always say their size.
    height, width = height or trained.config.get("height", 640), width or trained.config.get("width", 640)
    metadata = {"network": trained.config, "epochs": trained.epochs, "torch": str(torch.__version__)}
    ignored = mask_picture(trained.ignored) if trained.ignored else None
    export(
        trained.network,
        trained.method,
        folder,
        height=height,
        width=width,
        metadata=metadata,
        tiles=trained.tiles,
        ignored=ignored,
    )


def export(
    network: nn.Module,
    method: Method,
    folder: Path,
    *,
    height: int = 640,
    width: int = 640,
    metadata: dict[str, Any] | None = None,
    tiles: tuple[int, int] = (1, 1),
    ignored: bytes | None = None,
) -> None:
    """Write the graphs of a trained network and the draft's manifest to the folder.

    `tiles` are the columns and rows of inputs into which a part is cut. `ignored` is the PNG of a mask of the
    whole picture's size, not black where nothing is judged. If the network cannot take pictures of this size,
    raise ExportError before anything is written.
    """
    made = method.exportable(network.eval(), height=height, width=width)
    folder.mkdir(parents=True, exist_ok=True)
    image = _pictures(made.input)
    judged: tuple[Tensor | list[Tensor], ...] = (image,)
    features: tuple[str, ...] = ()
    files: list[tuple[Role, str]] = [("judge", JUDGE)]
    if made.reference is not None:
        files.insert(0, ("reference", REFERENCE))
        with torch.inference_mode():
            judged = (image, list(made.reference.eval()(image)))
        features = tuple(f"feature_{i}" for i in range(len(judged[1])))
        _export(made.reference, (image,), folder / REFERENCE, ["master"], features)
    with torch.inference_mode():
        answers = made.judge.eval()(*judged)
    shown = (answers,) if isinstance(answers, Tensor) else answers
    outputs = {name: (1, *answer.shape[1:]) for name, answer in zip(made.outputs, shown, strict=True)}
    _export(made.judge, judged, folder / JUDGE, ["image", *features], made.outputs)
    if ignored is not None:
        (folder / IGNORE).write_bytes(ignored)
    manifest = DraftManifest(
        name=folder.name,
        method=method.name,
        kinds=made.kinds,
        input=made.input,
        outputs=outputs,
        stride=made.input.height // outputs["map"][2] if "map" in outputs else 1,
        features=features,
        artifacts=tuple(
            Artifact(role=role, precision="fp32", **describe(folder, file)) for role, file in files
        ),
        tiles=tiles,
        ignored=File(**describe(folder, IGNORE)) if ignored is not None else None,
        metadata=metadata or {},
    )
    write_manifest(folder, manifest)


def _pictures(spec: InputSpec) -> Tensor:
    """Return two blank pictures as `(2, C, H, W)` uint8. From one, torch.export would fix the batch at one."""
    return torch.zeros((2, *spec.shape[1:]), dtype=torch.uint8)


def _export(
    module: nn.Module,
    inputs: tuple[Tensor | list[Tensor], ...],
    path: Path,
    names: Sequence[str],
    outputs: Sequence[str],
) -> None:
    free = {0: torch.export.Dim(BATCH)}
    # The exporter warns that torchvision is missing, which is not needed.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # FutureWarnings are about the exporter's own code; the other text is about an axis that is named twice.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.filterwarnings("ignore", f"# The axis name: {BATCH} will not be used")
        torch.onnx.export(
            module.eval(),
            inputs,
            path,
            input_names=list(names),
            output_names=list(outputs),
            dynamic_shapes=tuple([free] * len(put) if isinstance(put, list) else free for put in inputs),
            opset_version=OPSET,
            external_data=False,
            dynamo=True,
            verbose=False,
        )
    _forget_where(path)


def _forget_where(path: Path) -> None:
    """Delete from a graph file the paths of this machine's source files, which the exporter wrote into it."""
    model = onnx.load(path)
    for thing in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.functions):
        del thing.metadata_props[:]
    onnx.save(model, path)
