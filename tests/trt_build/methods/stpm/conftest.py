"""What the tests of STPM share: teachers that need no file, and good parts."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def teachers_of_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Teachers with random weights, the same each time: no file is needed."""
    import torch

    from trt_build.backbones.open import Backbone, build_backbone
    from trt_build.methods.stpm import train

    def opened(name: str) -> Backbone:
        state = torch.get_rng_state()
        torch.manual_seed(1)
        backbone = build_backbone(name)
        torch.set_rng_state(state)
        return backbone

    monkeypatch.setattr(train, "open_backbone", opened)


@pytest.fixture(scope="session")
def disc_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """110 good parts in MVTec AD's layout."""
    from discs import write_discs

    return write_discs(tmp_path_factory.mktemp("discs"), 110)
