"""The networks behind the backbones compute what their originals do, on the originals' weights."""

from __future__ import annotations

import json
import logging
import os
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")
ort = pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")


from trt_build.backbones.efficientnet import EfficientNetLite  # noqa: E402
from trt_build.backbones.mobilenet import MobileNet  # noqa: E402
from trt_build.backbones.open import BACKBONES, Backbone, build_backbone, open_backbone  # noqa: E402
from trt_build.backbones.published import PUBLISHED  # noqa: E402

DATA = os.environ.get("EDGE_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="EDGE_DATA is not set: no pre-trained weights")
PACKAGED = {name: source.package for name, source in PUBLISHED.items() if source.package}


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
