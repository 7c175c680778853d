"""A precision is packed only with tolerances that the model keeps, at its own scale."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edge.bundle import describe, read_model, write_manifest
from edge.engines import open_engine
from edge.errors import BundleError
from edge.judges.golden import check_golden
from edge.manifest import DraftManifest
from edge.manifest_file import parse_manifest
from edge.recipe import EngineChoice
from trt_build.engines.overflow import SumsOverflow
from trt_build.graphs.int8 import add_int8
from trt_build.methods.stpm.method import METHOD as parts
from trt_build.packing.pack import pack
from trt_build.packing.threshold import CalibrationOptions


def test_tolerances_are_wider_than_what_was_measured(packed: Path) -> None:
    """INT8 may differ by more than its own step, FP32 by no more than what storing rounds."""
    tolerances = read_model(packed).manifest.tolerances
    assert tolerances["fp32"]["map"] == 2e-3
    assert 0.5 / 127 < tolerances["int8"]["map"] < 2 / 127


def test_a_precision_that_is_too_coarse_for_the_threshold_is_refused(
    calibrated_anomaly: Path, copy: Callable[[Path], Path], part_folder: Path, tmp_path: Path
) -> None:
    """INT8 that was shown no light cuts spots off; what reproduces such golden frames would show nothing."""
    draft = copy(calibrated_anomaly)
    spec = read_model(draft).manifest.input
    add_int8(draft, parts.calibration_pictures(part_folder, spec))
    parts.calibrate(draft, part_folder, CalibrationOptions(rate=0.2))
    said = r"tolerances.int8.score: expected at most 0\.\d+, which is 50% of the lowest threshold, found 0\.\d+"
    with pytest.raises(BundleError, match=said):
        pack(draft, tmp_path / "bundle", cases=parts.held_out(part_folder, spec))
    assert not (tmp_path / "bundle").exists()


def test_a_graph_that_could_overflow_is_refused(
    calibrated_anomaly: Path, copy: Callable[[Path], Path], part_folder: Path, tmp_path: Path
) -> None:
    """It would judge rightly here and wrongly on the line's processor; the error names layer and remedy."""
    draft = copy(calibrated_anomaly)
    model = onnx.load(draft / "judge.int8.onnx")
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.INT8 and tensor.dims:
            tensor.CopyFrom(
                numpy_helper.from_array(numpy_helper.to_array(tensor) * 0 + np.int8(65), tensor.name)
            )
    onnx.save(model, draft / "judge.int8.onnx")
    known = read_manifest(draft)
    artifacts = tuple(
        msgspec.structs.replace(artifact, **describe(draft, artifact.path)) for artifact in known.artifacts
    )
    assert known.calibration is not None
    calibration = msgspec.structs.replace(known.calibration, artifact=artifacts[-1].sha256)
    write_manifest(draft, msgspec.structs.replace(known, artifacts=artifacts, calibration=calibration))
    with pytest.raises(
        SumsOverflow, match=r"judge\.int8\.onnx: the sums of \S+ reach 33150, .* 32767 in 16 bits"
    ):
        pack(draft, tmp_path / "bundle", cases=parts.held_out(part_folder, known.input))


def read_manifest(draft: Path) -> DraftManifest:
    """The manifest, whatever became of the graphs that it names."""
    return parse_manifest((draft / "manifest.json").read_bytes())


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_a_model_is_held_to_its_own_scale(
    calibrated_anomaly: Path, copy: Callable[[Path], Path], part_folder: Path, tmp_path: Path, scale: float
) -> None:
    """Whether scores are ten thousandths or thousands, one that is a hundredth off is noticed."""
    draft = copy(calibrated_anomaly)
    scaled(draft, scale)
    parts.calibrate(draft, part_folder, CalibrationOptions(rate=0.2))
    bundle = pack(
        draft, tmp_path / "bundle", cases=parts.held_out(part_folder, read_model(draft).manifest.input)
    )
    for name, tolerance in bundle.manifest.tolerances["fp32"].items():
        assert tolerance < max(float(np.abs(case.expected[name]).max()) for case in bundle.golden()) / 100
    for kind in ("openvino", "onnxruntime"):
        with open_engine(EngineChoice(kind=kind), bundle) as engine:
            check_golden(engine, bundle)


def scaled(draft: Path, by: float) -> None:
    """Multiply what the draft's graphs answer."""
    manifest = read_model(draft).manifest
    artifacts = []
    for artifact in manifest.artifacts:
        model = onnx.load(draft / artifact.path)
        (node,) = (node for node in model.graph.node if node.output[0] == "map")
        node.output[0] = "unscaled"
        at = list(model.graph.node).index(node)
        model.graph.initializer.append(numpy_helper.from_array(np.float32(by), "by"))
        model.graph.node.insert(at + 1, helper.make_node("Mul", ["unscaled", "by"], ["map"]))
        onnx.save(model, draft / artifact.path)
        artifacts.append(msgspec.structs.replace(artifact, **describe(draft, artifact.path)))
    write_manifest(draft, msgspec.structs.replace(manifest, artifacts=tuple(artifacts)))
