"""A manifest is read only if what it says can be right."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from edited import Edit, edit, put, refuse

from edge.bundle import read_bundle
from edge.errors import BundleError


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("format", 3), "format: expected 2, found 3"),
        (put("colour", "gray"), "colour: unknown key: known here are format, name"),
        (put("input.heigth", 64), "input.heigth: unknown key: known here are height, width"),
        (put("input.width", "64"), "input.width: expected a whole number, at least 1, found the text '64'"),
        (put("method", "oracle"), 'method: expected "autoencoder", .* or "stpm", found the text \'oracle\''),
        (put("artifacts.1.precision", "fp4"), r"artifacts\[1\].precision: expected .*, found the text 'fp4'"),
        (put("kinds", ["spot"]), r"outputs.map: expected \(1, 1, 16, 16\) for 1 kinds"),
        (put("stride", 8), r"outputs.map: expected \(1, 2, 8, 8\)"),
        (put("thresholds", {"spot": 0.5}), "thresholds: expected one for each of"),
        (put("artifacts", []), "artifacts: no graph for the role 'judge'"),
        (put("artifacts.1.precision", "fp32"), "artifacts: a judge in int8, but no reference"),
        (put("artifacts.3.precision", "fp32"), r"artifacts: .* names a role and precision twice"),
        (put("features", []), "features: expected the names"),
        (put("tolerances.int8", {"map": 1}), r"tolerances.int8: none for \['extents', 'score'\]"),
        (put("artifacts.0.path", "../reference.onnx"), r"artifacts\[0\].path: .* leads out of the bundle"),
        (put("masters.a.path", "/etc/hostname"), "masters.a.path: .* leads out of the bundle"),
        (put("golden.1.master.path", "golden/none.png"), r"golden\[1\].master.path: .* is missing"),
        (put("golden.0.frame.path", "golden/none.png"), r"golden\[0\].frame.path: .* is missing"),
    ],
)
def test_a_manifest_that_cannot_be_right_is_refused(bundle: Path, change: Edit, said: str) -> None:
    """The error names the file and the key."""
    refuse(bundle, change, said)


SCORES = {
    "method": "conformal",
    "rate": 0.1,
    "n": 3,
    "threshold": 0.2,
    "note": "At most 10 %.",
    "engine": "openvino fp32",
    "artifact": "0" * 64,
    "scores": [0.1, 0.15, 0.2],
}


def test_a_calibration_is_read(score_bundle: Path, tmp_path: Path) -> None:
    """What the threshold promises travels with the model, and so do the scores that p-values come from."""
    bundle = Path(shutil.copytree(score_bundle, tmp_path / "bundle"))
    edit(bundle, put("calibration", SCORES))
    known = read_bundle(bundle).manifest.calibration
    assert known is not None
    assert (known.note, known.scores) == ("At most 10 %.", (0.1, 0.15, 0.2))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("outputs.score", [2]), r"outputs.score: expected \(1,\) for one kind, found \(2,\)"),
        (put("outputs", {"score": [1]}), r"outputs.map: expected \(1, 1, 16, 16\) .*, found None"),
        (put("stride", 8), r"outputs.map: expected \(1, 1, 8, 8\)"),
        (put("thresholds", {"defect": 1}), "thresholds: expected one for each of"),
        (put("region_from", "0.3"), "region_from: expected a number, found the text '0.3'"),
        (put("artifacts", []), "artifacts: no graph for the role 'judge'"),
        (put("tolerances.fp32", {"map": 1}), r"tolerances.fp32: none for \['score'\]"),
        (put("calibration", SCORES | {"n": 4}), "calibration.scores: expected 4, found 3"),
        (
            put("calibration", SCORES | {"scores": [2, 1, 5]}),
            "calibration.scores: .* in rising order",
        ),
        (put("calibration", SCORES | {"method": "guessed"}), "calibration.method: expected .* text 'guessed'"),
        (put("calibration", SCORES | {"score": []}), "calibration.score: unknown key: known here are method"),
    ],
)
def test_a_manifest_of_an_anomaly_model_that_cannot_be_right_is_refused(
    score_bundle: Path, tmp_path: Path, change: Edit, said: str
) -> None:
    """The error names the file and the key."""
    refuse(Path(shutil.copytree(score_bundle, tmp_path / "bundle")), change, said)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("outputs", {"score": [1]}), r"outputs.embedding: expected \(1, D\)"),
        (put("outputs.embedding", [2, 64]), r"outputs.embedding: expected \(1, D\) .*found \(2, 64\)"),
        (put("outputs.embedding", [64]), r"outputs.embedding: expected \(1, D\)"),
        (put("kinds", ["anomaly"]), r"outputs.embedding: expected .* the kind 'product', .*'anomaly'"),
        (put("thresholds", {}), "thresholds: expected one for each of"),
        (put("artifacts", []), "artifacts: no graph for the role 'judge'"),
        (put("tolerances.fp32", {"embedding": 1}), r"tolerances.fp32: none for \['score'\]"),
        (put("golden.0.master.path", "golden/none.png"), r"golden\[0\].master.path: .* is missing"),
    ],
)
def test_a_manifest_of_a_matcher_that_cannot_be_right_is_refused(
    matcher_bundle: Path, tmp_path: Path, change: Edit, said: str
) -> None:
    """The error names the file and the key."""
    refuse(Path(shutil.copytree(matcher_bundle, tmp_path / "bundle")), change, said)


@pytest.mark.parametrize("text", ["{", "[]", ""], ids=["cut off", "a list", "empty"])
def test_a_manifest_that_is_no_json_object_is_refused(bundle: Path, text: str) -> None:
    """Whatever the file holds, the operator reads which file it is."""
    (bundle / "manifest.json").write_text(text)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        read_bundle(bundle)


@pytest.mark.parametrize(
    "data", [b"[" * 1_000_000, b'{"format":' * 100_000, b'"' + b"x" * 64_000_000 + b'"'], ids=["[", "{", "long"]
)
def test_a_manifest_that_only_costs_memory_is_refused(bundle: Path, data: bytes) -> None:
    """One that is nested deeply or as long as a film is an error like any other."""
    (bundle / "manifest.json").write_bytes(data)
    with pytest.raises(BundleError, match=r"not a JSON file|longer than"):
        read_bundle(bundle)
