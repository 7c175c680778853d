"""A packed bundle is complete, reproduces itself, and is never half there."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import trt_build.pack
from edge.bundle import read_bundle
from edge.engines import open_engine
from edge.errors import BundleError
from edge.golden import check_golden, scores
from edge.recipe import EngineChoice
from trt_build.dataset import Pair, read_pairs
from trt_build.pack import pack


@pytest.fixture(scope="module")
def pairs(pcb_pairs: Path) -> list[Pair]:
    return read_pairs(pcb_pairs)


@pytest.fixture(scope="module")
def packed(pcb_bundle: Path, pairs: list[Pair], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle made of the graphs of another one."""
    folder = tmp_path_factory.mktemp("packed") / "line-7"
    pack(pcb_bundle, folder, pairs=pairs, notice="Apache-2.0")
    return folder


@pytest.mark.parametrize("kind", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_every_engine_reproduces_what_was_packed(packed: Path, kind: str, precision: str) -> None:
    """What leaves the build machine runs on the line."""
    bundle = read_bundle(packed)
    with open_engine(EngineChoice(kind=kind, precision=precision), bundle) as engine:
        check_golden(engine, bundle)


def test_the_manifest_tells_where_the_bundle_comes_from(packed: Path) -> None:
    """Name, notice and figures on held-out pairs travel with the model."""
    manifest = read_bundle(packed).manifest
    assert (manifest.name, manifest.notice) == ("line-7", "Apache-2.0")
    assert manifest.facts["held_out"]["ap33_open"] == pytest.approx(100)


def test_thresholds_are_those_of_the_pairs(packed: Path) -> None:
    """The kind that was seen has the threshold that finds all of it; the others keep even odds."""
    thresholds = read_bundle(packed).manifest.thresholds
    assert thresholds["open"] == pytest.approx(77 / 255, abs=0.01)
    assert thresholds["spur"] == 0.5


def test_tolerances_are_wider_than_what_was_measured(packed: Path) -> None:
    """INT8 may differ by more than its own step, FP32 by no more than what storing rounds."""
    tolerances = read_bundle(packed).manifest.tolerances
    assert tolerances["fp32"]["map"] == 2e-3
    assert 0.5 / 127 < tolerances["int8"]["map"] < 2 / 127


def test_golden_frames_are_no_near_things(packed: Path) -> None:
    """Another CPU's rounding does not flip them."""
    bundle = read_bundle(packed)
    limits = np.array(list(bundle.manifest.thresholds.values()))
    assert len(bundle.golden()) == 4
    for case in bundle.golden():
        found = scores(case.expected)
        assert ((found > limits + 0.099) | (found < limits / 2)).all()


def test_golden_cases_take_little_room(packed: Path) -> None:
    """Stored outputs are packed, not as large as in memory."""
    case = read_bundle(packed).manifest.golden[0]
    assert case.expected.bytes < 10 * 16 * 16 * 4 / 2


def test_golden_frames_may_come_from_elsewhere(pcb_bundle: Path, pairs: list[Pair], tmp_path: Path) -> None:
    """Pictures that may not be passed on stay out of the bundle."""
    bundle = pack(pcb_bundle, tmp_path / "bundle", pairs=pairs, golden=pairs[50:52])
    assert [case.frame.path for case in bundle.manifest.golden] == ["golden/50.png", "golden/51.png"]


def test_masters_are_packed_by_view(pcb_bundle: Path, pairs: list[Pair], tmp_path: Path) -> None:
    """A line can run with the bundle's own masters."""
    cv2.imwrite(str(tmp_path / "top.png"), pairs[3].master)
    bundle = pack(pcb_bundle, tmp_path / "bundle", pairs=pairs, masters={"top": tmp_path / "top.png"})
    assert np.array_equal(bundle.master("top"), pairs[3].master)


def test_a_master_is_packed_once(pcb_bundle: Path, pairs: list[Pair], tmp_path: Path) -> None:
    """A golden case that has a view's master names that file."""
    cv2.imwrite(str(tmp_path / "top.png"), pairs[50].master)
    masters = {"top": tmp_path / "top.png"}
    bundle = pack(pcb_bundle, tmp_path / "bundle", pairs=pairs, golden=pairs[50:52], masters=masters)
    first, second = bundle.manifest.golden
    assert first.master == bundle.manifest.masters["top"]
    assert second.master is not None
    assert second.master.path == "golden/51_master.png"
    assert not (bundle.folder / "golden/50_master.png").exists()


def test_a_master_that_is_no_picture_is_refused(pcb_bundle: Path, pairs: list[Pair], tmp_path: Path) -> None:
    """The error names the file, and no bundle is left."""
    (tmp_path / "top.png").write_bytes(b"not a picture")
    with pytest.raises(BundleError, match=r"top\.png: not an 8-bit picture"):
        pack(pcb_bundle, tmp_path / "bundle", pairs=pairs, masters={"top": tmp_path / "top.png"})
    assert not (tmp_path / "bundle").exists()


def test_a_bundle_may_have_one_precision_only(pcb_bundle: Path, pairs: list[Pair], tmp_path: Path) -> None:
    """A small bundle holds the INT8 judge alone and still reproduces what the FP32 one said."""
    bundle = pack(pcb_bundle, tmp_path / "bundle", pairs=pairs, precision="int8")
    assert bundle.manifest.precisions() == ["int8"]
    assert list(bundle.manifest.tolerances) == ["int8"]
    assert not (bundle.folder / "judge.fp32.onnx").exists()


def test_a_bundle_is_never_overwritten(packed: Path, pcb_bundle: Path, pairs: list[Pair]) -> None:
    """A digest in an old verdict still names what judged."""
    with pytest.raises(BundleError, match="exists, and a bundle never changes"):
        pack(pcb_bundle, packed, pairs=pairs)


def test_pairs_that_are_all_near_things_are_refused(
    pcb_bundle: Path, pairs: list[Pair], tmp_path: Path
) -> None:
    """The error says what a golden frame needs."""
    with pytest.raises(BundleError, match="none of 2 pairs is judged clearly"):
        pack(pcb_bundle, tmp_path / "bundle", pairs=pairs[:2])
    assert not (tmp_path / "bundle").exists()


def test_a_kill_leaves_no_half_bundle(
    pcb_bundle: Path, pairs: list[Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing bears the bundle's name before all of it is there; the next attempt starts afresh."""

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trt_build.pack, "write_manifest", die)
        with pytest.raises(KeyboardInterrupt):
            pack(pcb_bundle, tmp_path / "bundle", pairs=pairs)
    assert not (tmp_path / "bundle").exists()
    (tmp_path / "bundle.part" / "left over").touch()
    pack(pcb_bundle, tmp_path / "bundle", pairs=pairs)
    assert {path.name for path in (tmp_path / "bundle").iterdir()} == {
        "golden",
        "judge.fp32.onnx",
        "judge.int8.onnx",
        "manifest.json",
        "reference.fp32.onnx",
        "reference.int8.onnx",
    }
    assert not (tmp_path / "bundle.part").exists()
