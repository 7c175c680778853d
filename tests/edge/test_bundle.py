"""A bundle is read only if all of it is there, unaltered and in agreement with itself."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from edited import edit, put

from edge.bundle import describe, read_bundle, read_draft
from edge.errors import BundleError, EngineError
from edge.manifest import InputSpec


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
