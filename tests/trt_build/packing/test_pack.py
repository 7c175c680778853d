"""A packed bundle is complete, reproduces itself, and is never half there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from fake_gpu.plans import write_engines

import trt_build.packing.pack
from edge.bundle import read_model, write_manifest
from edge.engines import compiled, open_engine
from edge.errors import BundleError
from edge.judges.golden import check_golden
from edge.recipe import EngineChoice
from trt_build.data.cases import Case
from trt_build.graphs.int8 import add_int8
from trt_build.methods.stpm.method import METHOD as parts
from trt_build.packing.pack import pack
from trt_build.packing.threshold import CalibrationOptions


@pytest.mark.parametrize("kind", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("model", ["packed", "packed_anomaly", "packed_matcher"])
def test_every_engine_reproduces_what_was_packed(
    request: pytest.FixtureRequest, model: str, kind: str, precision: str
) -> None:
    """What leaves the build machine runs on the line."""
    bundle = read_model(request.getfixturevalue(model))
    with open_engine(EngineChoice(kind=kind, precision=precision), bundle) as engine:
        check_golden(engine, bundle)


def test_the_manifest_tells_where_the_bundle_comes_from(packed: Path) -> None:
    """Name, notice and figures on held-out pairs travel with the model, and so do thresholds and promises."""
    manifest = read_model(packed).manifest
    assert (manifest.name, manifest.notice) == ("line-7", "Apache-2.0")
    assert manifest.metadata["held_out"]["ap33_open"] == pytest.approx(100)


@pytest.mark.parametrize("model", ["pcb", "anomaly", "matcher"])
def test_what_was_calibrated_is_packed(request: pytest.FixtureRequest, model: str) -> None:
    """Thresholds, what they promise and from where on regions are shown are the draft's to the last bit."""
    draft = read_model(request.getfixturevalue(f"calibrated_{model}")).manifest
    bundle = read_model(request.getfixturevalue("packed" if model == "pcb" else f"packed_{model}")).manifest
    assert bundle.thresholds == draft.thresholds
    assert bundle.calibration == draft.calibration
    assert bundle.region_from == draft.region_from
    assert bundle.artifacts == draft.artifacts


def test_a_draft_that_is_not_calibrated_is_refused(
    anomaly_draft: Path, pcb_draft: Path, cases: list[Case], tmp_path: Path
) -> None:
    """No line judges by a threshold that nobody set; the error says what to run."""
    for draft in (anomaly_draft, pcb_draft):
        with pytest.raises(BundleError, match="its thresholds are not set: run trt-build calibrate"):
            pack(draft, tmp_path / "bundle", cases=cases)
    assert list(tmp_path.iterdir()) == []


def test_a_promise_of_another_graph_is_refused(
    calibrated_anomaly: Path, copy: Callable[[Path], Path], part_folder: Path, tmp_path: Path
) -> None:
    """A threshold set on INT8 says nothing of FP32, nor of INT8 that was rounded otherwise since."""
    spec = read_model(calibrated_anomaly).manifest.input
    kept = list(parts.held_out(part_folder, spec))
    with pytest.raises(
        BundleError, match=r"calibrated on openvino int8, and .* graph of another kind would judge"
    ):
        pack(calibrated_anomaly, tmp_path / "bundle", cases=kept, precision="fp32")
    draft = copy(calibrated_anomaly)
    add_int8(draft, kept[:-3])
    with pytest.raises(BundleError, match="calibrated on openvino int8"):
        pack(draft, tmp_path / "bundle", cases=kept)
    parts.calibrate(draft, part_folder, CalibrationOptions(rate=0.2))
    assert pack(draft, tmp_path / "bundle", cases=kept).manifest.precisions() == ["fp32", "int8"]


def test_a_bundle_may_have_one_precision_only(calibrated_pcb: Path, cases: list[Case], tmp_path: Path) -> None:
    """Beside FP32, to which a line falls back, a small bundle holds what was asked for."""
    bundle = pack(calibrated_pcb, tmp_path / "bundle", cases=cases, precision="fp32")
    assert bundle.manifest.precisions() == ["fp32"]
    assert list(bundle.manifest.tolerances) == ["fp32"]
    assert not (bundle.folder / "judge.int8.onnx").exists()
    both = pack(calibrated_pcb, tmp_path / "both", cases=cases, precision="int8")
    assert both.manifest.precisions() == ["fp32", "int8"]


def test_the_engines_of_a_draft_are_packed(
    calibrated_anomaly: Path, copy: Callable[[Path], Path], part_folder: Path, tmp_path: Path
) -> None:
    """They need not be built again; of graphs that are left out there are none, and the bundle is the same."""
    draft = write_engines(copy(calibrated_anomaly))
    cases = list(parts.held_out(part_folder, read_model(draft).manifest.input))
    bundle = pack(draft, tmp_path / "bundle", cases=cases)
    copied = [found for _, found in compiled.kept(bundle.folder)]
    assert copied == [found for _, found in compiled.kept(draft)] != []
    for found in copied:
        assert not isinstance(found, str)
        assert compiled.read_plan(bundle, found)
    write_manifest(draft, msgspec.structs.replace(read_model(draft).manifest, calibration=None))
    (kept,) = (found for found in copied if isinstance(found, compiled.Compiled))
    other = msgspec.structs.replace(
        kept, precision="int8", graph=read_model(draft).digest_of_graph("judge", "int8")
    )
    (draft / "engines" / "other.engine.json").write_bytes(msgspec.json.encode(other))
    small = pack(draft, tmp_path / "small", cases=cases, precision="fp32")
    assert [found for _, found in compiled.kept(small.folder)] == [kept]


def test_a_bundle_is_never_overwritten(packed: Path, calibrated_pcb: Path, cases: list[Case]) -> None:
    """A digest in an old verdict still names what judged."""
    with pytest.raises(BundleError, match="exists, and a bundle never changes"):
        pack(calibrated_pcb, packed, cases=cases)


def test_a_kill_leaves_no_half_bundle(
    calibrated_pcb: Path, cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing bears the bundle's name before all of it is there; the next attempt starts afresh."""

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trt_build.packing.pack, "write_manifest", die)
        with pytest.raises(KeyboardInterrupt):
            pack(calibrated_pcb, tmp_path / "bundle", cases=cases)
    assert list(tmp_path.iterdir()) == []
    left = tmp_path / ".bundle.part" / "bundle" / "left over"  # as a process leaves it that is killed outright
    left.parent.mkdir(parents=True)
    left.touch()
    pack(calibrated_pcb, tmp_path / "bundle", cases=cases)
    graphs = {f"{role}.{precision}.onnx" for role in ("judge", "reference") for precision in ("fp32", "int8")}
    assert {path.name for path in (tmp_path / "bundle").iterdir()} == {"golden", "manifest.json", *graphs}
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
