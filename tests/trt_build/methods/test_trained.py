"""A checkpoint is read whole with its method, or refused by name."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")

from trt_build.methods.checkpoint import CHECKPOINT, CheckpointError  # noqa: E402
from trt_build.methods.matcher.network import Matcher, MatcherConfig  # noqa: E402
from trt_build.methods.trained import load_trained  # noqa: E402

TINY = MatcherConfig(size=33, widths=(4, 8), blocks=(0, 1), embedding=16)


def checkpoint(folder: Path, config: dict[str, Any]) -> Path:
    """A matcher's checkpoint with the weights of `TINY` and this configuration."""
    describe = {"model": "matcher", "config": config}
    torch.save({"weights": Matcher(TINY).state_dict(), "describe": describe, "epoch": 3}, folder / CHECKPOINT)
    return folder / CHECKPOINT


def test_a_checkpoint_gives_its_method_and_a_network_ready_to_judge(tmp_path: Path) -> None:
    """The method is found by the name in the checkpoint, and the network is in evaluation mode."""
    trained = load_trained(checkpoint(tmp_path, asdict(TINY)), "matcher")
    assert (trained.method.name, trained.epochs, trained.network.training) == ("matcher", 3, False)
    assert trained.network.config == TINY


def test_another_methods_checkpoint_is_refused(tmp_path: Path) -> None:
    """The error names the file and what it holds."""
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt: expected .* method stpm, found 'matcher'"):
        load_trained(checkpoint(tmp_path, asdict(TINY)), "stpm")


@pytest.mark.parametrize("config", [{**asdict(TINY), "widths": (4, 4)}, {"unknown": 1}], ids=["shape", "key"])
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, config: dict[str, Any]) -> None:
    """A network of other widths, or of another version, does not take them."""
    with pytest.raises(CheckpointError, match="not the weights of the method matcher"):
        load_trained(checkpoint(tmp_path, config))
