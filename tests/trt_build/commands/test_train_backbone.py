"""`trt-build train` finds the backbone that a method needs, or says how to get it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs torch, which only building models uses")
pytest.importorskip("safetensors", reason="needs safetensors, which only building models uses")

from safetensors.torch import save_file

from trt_build.backbones.open import build_backbone
from trt_build.backbones.published import PUBLISHED

pytestmark = pytest.mark.usefixtures("nowhere")
ANOMALY = ("autoencoder", "stpm", "pfm", "gaussian")
RESNET = PUBLISHED["resnet18"]


@pytest.mark.parametrize("method", ANOMALY)
def test_without_a_backbones_file_one_reads_how_to_go_on(
    refused: Callable[..., str], part_folder: Path, nowhere: Path, method: str
) -> None:
    """One that nobody gives out: the error names one that the extra brings, and where a file goes."""
    said = refused(method, part_folder, "--backbone", "mobilenet_v2")
    assert f"{PUBLISHED['mobilenet_v2'].file} in {nowhere}; put it into {nowhere}" in said
    assert "comes with the extra `build`: --backbone efficientnet_lite0" in said
    assert "trt-build fetch-backbone resnet18, or" in refused(method, part_folder, "--backbone", "resnet18")


@pytest.mark.parametrize("method", ANOMALY)
def test_an_altered_backbone_is_refused(
    refused: Callable[..., str], part_folder: Path, nowhere: Path, method: str
) -> None:
    """A download that was cut short is not half used."""
    (nowhere / RESNET.file).write_bytes(b"cut short")
    said = refused(method, part_folder, "--backbone", "resnet18")
    assert f"{RESNET.file}: expected a SHA-256 that begins with {RESNET.sha256}" in said
    assert "delete it, then get it with: trt-build fetch-backbone resnet18" in said


@pytest.mark.parametrize("method", ANOMALY)
def test_weights_of_another_network_are_refused(
    refused: Callable[..., str], part_folder: Path, nowhere: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Also where the file is what the table says it is."""
    path = nowhere / "other.safetensors"
    save_file(build_backbone("mobilenet_v1").network.state_dict(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(PUBLISHED, "resnet18", replace(RESNET, file=path.name, sha256=digest))
    said = refused(method, part_folder, "--backbone", "resnet18")
    assert "other.safetensors: not the weights of resnet18" in said


def test_an_unknown_backbone_is_refused(refused: Callable[..., str], part_folder: Path) -> None:
    """A slip of the pen costs one look."""
    said = refused("stpm", part_folder, "--backbone", "resnet19")
    assert "no backbone 'resnet19'; expected one of efficientnet_lite0, " in said
