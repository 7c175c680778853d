"""Backbones for trainings that need no download."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")

from safetensors.torch import save_file  # noqa: E402

from trt_build.backbones.open import build_backbone  # noqa: E402


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Backbones that have seen nothing, as files: random filters are features too."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    paths = []
    for name in ("mobilenet_v2", "mobilenet_v1"):
        network = build_backbone(name).network
        for weight in network.parameters():
            torch.nn.init.kaiming_normal_(weight) if weight.ndim > 1 else torch.nn.init.normal_(weight, std=0.1)
        paths.append(folder / f"random_{name}.safetensors")
        save_file(network.state_dict(), paths[-1])
    return paths[0], paths[1]
