"""A bundle is read only if all of it is there, unaltered and in agreement with itself."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest

import edge
from edge.bundle import describe, read_bundle, read_draft
from edge.errors import BundleError, EngineError
from edge.manifest import DraftManifest, InputSpec, least_rejected
from edge.manifest_file import parse_manifest

Edit = Callable[[dict[str, Any]], None]


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the tiny bundle that a test may damage."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


def edit(bundle: Path, change: Edit) -> None:
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def put(key: str, value: Any) -> Edit:
    """A change that sets a key, given by its path with dots."""

    def change(manifest: Any) -> None:
        *way, last = key.split(".")
        for step in way:
            manifest = manifest[int(step) if step.isdigit() else step]
        manifest[last] = value

    return change


def test_a_sound_bundle_is_read_with_all_it_holds(tiny_bundle: Path) -> None:
    """What was packed comes back: graphs, golden cases and masters."""
    bundle = read_bundle(tiny_bundle)
    clean, spotted = bundle.golden()
    assert bundle.artifact("judge", "int8") == tiny_bundle / "judge.int8.onnx"
    assert clean.image.shape == clean.master.shape == bundle.manifest.input.shape
    assert clean.expected["map"].max() == 0
    assert spotted.expected["map"].max() > 0.5
    assert bundle.master("b").shape == (64, 64)


def test_the_identity_is_the_digest_of_the_manifest(bundle: Path) -> None:
    """Two bundles that differ in one threshold are told apart in every verdict."""
    before = read_bundle(bundle).digest
    edit(bundle, put("thresholds.spot", 0.6))
    assert read_bundle(bundle).digest != before


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


def refuse(bundle: Path, change: Edit, said: str) -> None:
    edit(bundle, change)
    with pytest.raises(BundleError, match=f"manifest.json: {said}"):
        read_bundle(bundle)


def of_format_1(**changes: Any) -> bytes:
    """The demo's manifest as the first format had it, with other values under some keys."""
    text = (Path(__file__).parent / "manifest-of-format-1.json").read_text()
    return json.dumps(json.loads(text) | changes).encode()


def test_a_bundle_of_format_1_is_read() -> None:
    """Bundles that were packed before are read as what they would be today."""
    demo = Path(edge.__file__).parent / "demo" / "bundle" / "manifest.json"
    assert parse_manifest(of_format_1()) == parse_manifest(demo.read_bytes())


@pytest.mark.parametrize("calibrated", [True, False])
def test_a_draft_of_format_1_is_read(calibrated: bool) -> None:
    """Only its metadata told whether the thresholds were set; those of any other draft were made up."""
    draft = parse_manifest(of_format_1(golden=[], facts={"epochs": 3, "calibrated": calibrated}))
    assert isinstance(draft, DraftManifest)
    assert draft.metadata == {"epochs": 3}
    assert (draft.thresholds is not None) == calibrated


def test_a_threshold_of_format_1_keeps_its_meaning() -> None:
    """It was the greatest score that passed, and is the least that is rejected."""
    known = {"method": "conformal", "rate": 0.1, "n": 2, "threshold": 0.25, "note": "at most 10 %"}
    known |= {"engine": "openvino fp32", "artifact": "0" * 64, "scores": [0.1, 0.25]}
    calibration = parse_manifest(of_format_1(calibration=known)).calibration
    assert calibration is not None
    assert calibration.threshold == least_rejected(0.25) > 0.25


def test_a_draft_is_no_bundle(tiny_bundle: Path, bundle: Path) -> None:
    """A line runs no draft, and no command changes a bundle; both errors say what to do."""
    edit(bundle, lambda manifest: [manifest.pop(key) for key in ("golden", "tolerances", "masters", "notice")])
    edit(bundle, put("state", "draft"))
    assert read_draft(bundle).manifest.kinds == ("spot", "shade")
    with pytest.raises(BundleError, match="expected a packed bundle, found a draft: run trt-build pack"):
        read_bundle(bundle)
    with pytest.raises(BundleError, match="is packed, and a bundle never changes"):
        read_draft(tiny_bundle)


def test_a_bundle_of_an_anomaly_model_is_read_with_all_it_holds(score_bundle: Path) -> None:
    """Golden cases without a master, a score and a map, and no masters."""
    bundle = read_bundle(score_bundle)
    usual, odd = bundle.golden()
    assert usual.master is None
    assert {name: array.shape for name, array in odd.expected.items()} == bundle.manifest.outputs
    assert usual.expected["score"] < bundle.manifest.thresholds["anomaly"] < odd.expected["score"]


def test_a_bundle_of_a_matcher_is_read_with_all_it_holds(matcher_bundle: Path) -> None:
    """Its golden cases bring the drawing, and besides the embedding the score that decides."""
    bundle = read_bundle(matcher_bundle)
    product, other = bundle.golden()
    assert np.array_equal(product.image, product.master)
    shapes = {name: array.shape for name, array in other.expected.items()}
    assert shapes == {"embedding": (1, 64), "score": (1,)}
    assert bundle.manifest.answers == {"score": (1,)}
    assert product.expected["score"] < bundle.manifest.thresholds["product"] < other.expected["score"]


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


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    """A wrong path in a recipe is told as such."""
    with pytest.raises(BundleError, match="is this a bundle"):
        read_bundle(tmp_path)


@pytest.mark.parametrize("path", ["judge.int8.onnx", "golden/clean.npz", "master/b.png"])
def test_one_altered_byte_anywhere_is_noticed(bundle: Path, path: str) -> None:
    """A graph, a golden case or a master that is not what was packed stops the line before it starts."""
    data = bytearray((bundle / path).read_bytes())
    data[len(data) // 2] ^= 1
    (bundle / path).write_bytes(data)
    with pytest.raises(BundleError, match=f"'{path}' was altered"):
        read_bundle(bundle)


def test_a_missing_graph_is_noticed(bundle: Path) -> None:
    """Half a copy is no bundle."""
    (bundle / "judge.fp32.onnx").unlink()
    with pytest.raises(BundleError, match=r"'judge\.fp32\.onnx' is missing: copy the whole bundle"):
        read_bundle(bundle)


def test_a_link_that_leads_out_is_not_followed(bundle: Path, tmp_path: Path) -> None:
    """What a bundle runs lies in the bundle."""
    shutil.move(bundle / "judge.fp32.onnx", tmp_path / "elsewhere.onnx")
    (bundle / "judge.fp32.onnx").symlink_to(tmp_path / "elsewhere.onnx")
    with pytest.raises(BundleError, match="leads out of the bundle"):
        read_bundle(bundle)


def test_a_view_without_master_names_those_there_are(tiny_bundle: Path) -> None:
    """A misnamed view is found at a glance."""
    with pytest.raises(BundleError, match="no master for view 'c'; the bundle has a, b"):
        read_bundle(tiny_bundle).master("c")


@pytest.mark.parametrize("color", ["bgr", "rgb"])
def test_a_picture_becomes_planes_in_the_models_order(color: Any) -> None:
    """Red is red, whichever order the model was trained with."""
    picture = np.zeros((3, 5, 3), np.uint8)
    picture[..., 2] = 200  # red, of BGR
    planes = InputSpec(height=3, width=5, color=color).tensor(picture[:, ::-1])
    assert planes.shape == (1, 3, 3, 5)
    assert planes[0, color.index("r")].min() == 200
    assert planes.sum() == 200 * 15


@pytest.mark.parametrize("shape", [(64, 63), (64, 64, 3)], ids=["other size", "other colour"])
def test_a_picture_that_does_not_fit_is_refused(shape: tuple[int, ...]) -> None:
    """The error says what was expected and what came."""
    with pytest.raises(EngineError, match=r"expected \(1, 1, 64, 64\) uint8 \(gray\), received"):
        InputSpec(height=64, width=64).tensor(np.zeros(shape, np.uint8))


def test_a_golden_frame_that_is_no_picture_is_refused(bundle: Path) -> None:
    """The digest is right and the file is not: packed wrongly."""
    junk = bundle / "golden/clean.png"
    _, data = cv2.imencode(".png", np.zeros((64, 64), np.uint8))
    junk.write_bytes(data.tobytes()[:20])
    edit(bundle, put("golden.0.frame", describe(bundle, "golden/clean.png")))
    with pytest.raises(BundleError, match=r"clean.png: not a picture"):
        read_bundle(bundle).golden()


def test_golden_outputs_of_another_shape_are_refused(bundle: Path) -> None:
    """Golden cases of another model do not pass for this one's."""
    np.savez(bundle / "golden/clean.npz", map=np.zeros((1, 2, 8, 8), np.float32))
    edit(bundle, put("golden.0.expected", describe(bundle, "golden/clean.npz")))
    with pytest.raises(BundleError, match=r"clean.npz: expected .*, found .*\(1, 2, 8, 8\)"):
        read_bundle(bundle).golden()


def deflated(**arrays: np.ndarray) -> bytes:
    """An .npz file with these arrays, packed."""
    written = io.BytesIO()
    np.savez_compressed(written, **arrays)
    return written.getvalue()


@pytest.mark.parametrize(
    ("path", "said"),
    [
        pytest.param("../golden.onnx", "leads out of the bundle's folder", id="above"),
        pytest.param("golden/../../golden.onnx", "leads out of the bundle's folder", id="above by a way round"),
        pytest.param("/etc/passwd", "leads out of the bundle's folder", id="absolute"),
        pytest.param("outside.onnx", "leads out of the bundle's folder", id="link"),
        pytest.param("through/passwd", "leads out of the bundle's folder", id="through a link"),
        pytest.param("circle", "is no name of a file", id="links in a circle"),
        pytest.param("a\0b", "is no name of a file", id="zero byte"),
        pytest.param("a" * 5000, "is no name of a file", id="too long"),
        pytest.param("pipe", "is missing", id="pipe"),
        pytest.param("", "is missing", id="nothing"),
    ],
)
def test_a_file_outside_the_bundle_is_never_read(bundle: Path, path: str, said: str) -> None:
    """Whatever way leads there; and what is no file of the bundle is an error that names the key."""
    (bundle / "outside.onnx").symlink_to("/etc/passwd")
    (bundle / "through").symlink_to("/etc")
    (bundle / "circle").symlink_to("circle")
    os.mkfifo(bundle / "pipe")
    edit(bundle, put("artifacts.0.path", path))
    with pytest.raises(BundleError, match=said) as raised:
        read_bundle(bundle)
    assert "artifacts[0].path" in str(raised.value)
    assert len(str(raised.value)) < 1000


def test_a_graph_whose_weights_lie_in_another_file_is_refused(bundle: Path) -> None:
    """No digest would cover them, and they could lie anywhere."""
    path = bundle / "judge.fp32.onnx"
    model = onnx.load(path)
    onnx.external_data_helper.convert_model_to_external_data(
        model, all_tensors_to_one_file=True, location="weights.bin", size_threshold=0
    )
    onnx.save(model, path)
    number = [one["path"] for one in json.loads((bundle / "manifest.json").read_text())["artifacts"]].index(
        "judge.fp32.onnx"
    )
    for key, value in describe(bundle, "judge.fp32.onnx").items():
        edit(bundle, put(f"artifacts.{number}.{key}", value))
    with pytest.raises(BundleError, match="has weights in another file"):
        read_bundle(bundle)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"PK" * 50, id="no archive"),
        pytest.param(deflated(map=np.array([{"a": 1}], dtype=object)), id="objects"),
        pytest.param(deflated(map=np.zeros(50_000_000, np.uint8)), id="400 times as large unpacked"),
        pytest.param(deflated(map=np.array(["text"])), id="texts"),
        pytest.param(deflated(map=np.zeros(8))[:-40], id="cut"),
    ],
)
def test_outputs_of_a_golden_frame_that_are_none_are_refused(bundle: Path, data: bytes) -> None:
    """Nothing is unpickled or unpacked into memory that the model's outputs do not need."""
    file = json.loads((bundle / "manifest.json").read_text())["golden"][0]["expected"]["path"]
    (bundle / file).write_bytes(data)
    for key, value in describe(bundle, file).items():
        edit(bundle, put(f"golden.0.expected.{key}", value))
    with pytest.raises(BundleError, match="not a file of arrays of numbers"):
        read_bundle(bundle).golden()


@pytest.mark.parametrize(
    "data", [b"[" * 1_000_000, b'{"format":' * 100_000, b'"' + b"x" * 64_000_000 + b'"'], ids=["[", "{", "long"]
)
def test_a_manifest_that_only_costs_memory_is_refused(bundle: Path, data: bytes) -> None:
    """One that is nested deeply or as long as a film is an error like any other."""
    (bundle / "manifest.json").write_bytes(data)
    with pytest.raises(BundleError, match=r"not a JSON file|longer than"):
        read_bundle(bundle)
