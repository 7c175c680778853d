"""Makes the inputs that a draft's graphs take, and puts new graphs into the draft's manifest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
import onnxruntime

from edge.bundle import Draft, write_manifest
from edge.manifest import Artifact, Precision, Role
from trt_build.data.cases import Case


def inputs_of(draft: Draft, role: Role, cases: Iterable[Case]) -> Iterator[dict[str, Any]]:
    """Yield for each tile of each case the inputs of a draft's graph, by name.

    The role "reference" is the graph that turns a master into features; "judge" is the graph that judges a
    picture. `image` and `master` are `(1, C, H, W)` uint8. Features are float32 and come from the FP32
    reference graph.
    """
    names, cut = draft.manifest.features, draft.manifest.grid.cut
    compares = role == "judge" and bool(names)
    path = str(draft.artifact("reference", "fp32")) if compares else ""
    reference = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]) if compares else None
    for case in cases:
        images, masters = cut(case.image), [] if case.master is None else cut(case.master)
        if role == "reference":
            yield from ({"master": master} for master in masters)
        elif reference is None:
            yield from ({"image": image} for image in images)
        else:
            for image, master in zip(images, masters, strict=True):
                features = reference.run(names, {"master": master})
                yield {"image": image, **dict(zip(names, features, strict=True))}


def replace_graphs(draft: Draft, precision: Precision, made: Sequence[Artifact], **metadata: Any) -> None:
    """In a draft's manifest, replace the graphs of this precision by `made`, and add `metadata`."""
    known = draft.manifest
    others = [artifact for artifact in known.artifacts if artifact.precision != precision]
    write_manifest(
        draft.folder,
        msgspec.structs.replace(known, artifacts=(*others, *made), metadata=known.metadata | metadata),
    )
