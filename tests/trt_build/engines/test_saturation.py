"""An INT8 model that is ruined, by its rounding or by the processor, is named and never calibrated."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from drafts import describe_again, widen, write_wide_draft
from onnx import numpy_helper

from edge.bundle import read_model
from edge.engines import processor
from edge.engines.base import Outputs
from edge.errors import EngineError
from edge.manifest import Manifest
from edge.recipe import EngineChoice
from trt_build.data.cases import Case, answers_of, judge_all
from trt_build.data.pairs import read_pairs
from trt_build.engines.exact import Exact
from trt_build.engines.instruction_sets import VARIABLE, judge_with
from trt_build.engines.saturation import REFERENCE, check_computed, order_lost
from trt_build.graphs.int8 import add_int8
from trt_build.methods.comparator.calibrate import set_thresholds
from trt_build.methods.stpm.method import METHOD as parts
from trt_build.packing.pack import pack
from trt_build.packing.threshold import CalibrationOptions

needs_avx2 = pytest.mark.skipif(
    "avx2" not in processor.instructions(), reason="a processor without AVX2 cannot play one that has no VNNI"
)


def scored(*values: float) -> list[Outputs]:
    return [{"score": np.array([value], np.float32)} for value in values]


@pytest.fixture(scope="module")
def wide(part_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A draft with large sums, not calibrated; see `drafts.write_wide_draft`."""
    draft = write_wide_draft(tmp_path_factory.mktemp("drafts") / "wide")
    spec = read_model(draft).manifest.input
    white = Case(name="white", image=np.full(spec.shape, 255, np.uint8))
    add_int8(draft, [*parts.calibration_pictures(part_folder, spec), white])
    return draft


@pytest.fixture(scope="module")
def cases(wide: Path, part_folder: Path) -> list[Case]:
    return list(parts.held_out(part_folder, read_model(wide).manifest.input))[:12]


def trt_build_on_avx2(*words: object) -> subprocess.CompletedProcess[str]:
    """Run a command as on a processor that has AVX2 and no VNNI."""
    command = [sys.executable, "-m", "trt_build", *map(str, words)]
    return subprocess.run(command, env=os.environ | {VARIABLE: "AVX2"}, capture_output=True, text=True)


@needs_avx2
@pytest.mark.parametrize("instructions", ["AVX2", "AVX512_CORE"])
def test_weights_of_seven_bits_are_computed_alike(wide: Path, cases: list[Case], instructions: str) -> None:
    """With VNNI, without it, and in exact integers: the scores are the same to a millionth."""
    draft = read_model(wide)
    with Exact(draft, "int8") as engine:
        exact = [float(said["score"][0]) for said in answers_of(engine, draft.manifest, cases)]
    for found in (
        judge_with(instructions, draft, "int8", cases),
        judge_all(draft, EngineChoice(kind="openvino", precision="int8"), cases),
        judge_all(draft, EngineChoice(kind="onnxruntime", precision="int8"), cases),
    ):
        assert [float(said["score"][0]) for said in found] == pytest.approx(exact, abs=1e-6)


@needs_avx2
def test_weights_of_eight_bits_saturate_without_vnni(
    wide: Path, copy: Callable[[Path], Path], cases: list[Case]
) -> None:
    """So that it is known what the other tests hold off; the error tells how far off the scores are."""
    draft = read_model(widen(copy(wide)))
    with Exact(draft, "int8") as engine:
        exact = answers_of(engine, draft.manifest, cases)
    found, fp32 = judge_with("AVX2", draft, "int8", cases), judge_all(draft, REFERENCE, cases)
    with pytest.raises(EngineError, match=r"played: this CPU saturates: the scores of wide differ by 0\.3\d+ "):
        check_computed("played", draft.manifest, found, exact, fp32)


@needs_avx2
def test_a_saturating_processor_calibrates_nothing(
    wide: Path, copy: Callable[[Path], Path], part_folder: Path
) -> None:
    """The command says so and what to do, and the draft is as it was."""
    draft = widen(copy(wide))
    before = (draft / "manifest.json").read_bytes()
    done = trt_build_on_avx2("calibrate", draft, part_folder, "--rate", 0.2)
    assert done.returncode == 1
    assert "openvino int8: this CPU saturates" in done.stderr
    assert "run it with fp32 here, or export the checkpoint anew" in done.stderr
    assert (draft / "manifest.json").read_bytes() == before


@needs_avx2
def test_a_saturating_processor_is_named_by_verify(wide: Path, tmp_path: Path, part_folder: Path) -> None:
    """Not the number of pictures that were calibrated with, of which more would not help."""
    draft = Path(shutil.copytree(wide, tmp_path / "draft"))
    parts.calibrate(draft, part_folder, CalibrationOptions(rate=0.2))
    spec = read_model(draft).manifest.input
    bundle = pack(draft, tmp_path / "bundle", cases=parts.held_out(part_folder, spec)).folder
    assert trt_build_on_avx2("verify", bundle, "--precision", "int8").returncode == 0
    done = trt_build_on_avx2("verify", widen(bundle), "--precision", "int8")
    assert done.returncode == 1
    assert "openvino int8: this CPU saturates" in done.stderr


def silence(draft: Path) -> Path:
    """Set the INT8 weights of a draft's judge to zero."""
    model = onnx.load(draft / "judge.int8.onnx")
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.INT8 and tensor.dims:
            nothing = np.zeros(tuple(tensor.dims), np.int8)
            tensor.CopyFrom(numpy_helper.from_array(nothing, tensor.name))
    onnx.save(model, draft / "judge.int8.onnx")
    describe_again(draft)
    return draft


def test_int8_that_loses_the_order_is_left_out(
    wide: Path, copy: Callable[[Path], Path], part_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """FP32 is calibrated instead; log and draft say why."""
    draft = silence(copy(wide))
    said = parts.calibrate(draft, part_folder, CalibrationOptions(rate=0.2))
    assert said.engine == "openvino fp32"
    after = read_model(draft).manifest
    assert after.precisions() == ["fp32"]
    assert after.metadata["left_out"]["int8"].startswith(
        "the rank correlation of its scores with FP32's is 0.00"
    )
    assert "INT8 is left out of" in caplog.text
    assert not (draft / "judge.int8.onnx").exists()


def test_a_comparators_int8_that_finds_less_is_left_out(
    pcb_draft: Path, copy: Callable[[Path], Path], pcb_pairs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is held by the boxes that it finds, since all defects score alike."""
    draft = copy(pcb_draft)
    model = onnx.load(draft / "judge.int8.onnx")
    (step,) = (tensor for tensor in model.graph.initializer if tensor.name == "step")
    step.CopyFrom(numpy_helper.from_array(np.float32(0.9), "step"))
    onnx.save(model, draft / "judge.int8.onnx")
    describe_again(draft)
    set_thresholds(draft, read_pairs(pcb_pairs), CalibrationOptions())
    assert read_model(draft).manifest.precisions() == ["fp32"]
    assert "it loses" in caplog.text
    assert "points of AP against FP32" in caplog.text


@pytest.mark.parametrize(
    ("fp32", "int8", "kept"),
    [
        ([1, 2, 3, 4], [1.1, 2.2, 2.9, 4.2], True),
        ([1, 2, 3, 4], [4, 3, 2, 1], False),
        ([1, 2, 3, 4], [7, 7, 7, 7], False),
        ([5, 5, 5, 5], [1, 2, 3, 4], True),
    ],
    ids=["the same", "turned", "all alike", "nothing to keep"],
)
def test_the_order_of_scores_counts_not_their_size(fp32: list[float], int8: list[float], kept: bool) -> None:
    """A threshold is set on the scores as they are; only their order cannot be mended."""
    assert (order_lost(scored(*fp32), scored(*int8)) is None) == kept


@pytest.mark.parametrize(
    ("strays", "refused"), [(0.001, False), (0.05, False), (0.2, True)], ids=["near", "as INT8 does", "far"]
)
def test_an_engine_may_stray_about_as_far_as_int8_itself(
    anomaly_manifest: Manifest, strays: float, refused: bool
) -> None:
    """Engines round in other places than the graph says; that is no saturation."""
    exact, fp32 = scored(1.0, 1.1, 1.2), scored(1.05, 1.05, 1.25)
    found = scored(1.0 + strays, 1.1 - strays, 1.2 + strays)
    try:
        check_computed("engine", anomaly_manifest, found, exact, fp32)
    except EngineError:
        assert refused
    else:
        assert not refused


@pytest.fixture
def anomaly_manifest(wide: Path) -> Manifest:
    return read_model(wide).manifest


def test_a_sound_comparator_keeps_its_int8(calibrated_pcb: Path) -> None:
    """Its INT8 finds as much as FP32."""
    assert read_model(calibrated_pcb).manifest.precisions() == ["fp32", "int8"]
