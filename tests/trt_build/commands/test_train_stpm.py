"""The options of `trt-build train stpm`: they reach the network that is trained and its training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")

from trt_build.methods.stpm import train  # noqa: E402
from trt_build.methods.stpm.network import STPMConfig  # noqa: E402

Run = Callable[..., tuple[int, str, str]]
LITE1 = "efficientnet_lite1"


@pytest.fixture
def asked(trt_build: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Runs the command with some options; the settings with which it would train."""

    def run(*options: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        monkeypatch.setattr(train, "train_stpm", lambda data, folder, **settings: found.update(settings))
        status, _, said = trt_build("train", "stpm", tmp_path, tmp_path / "run", *options)
        assert status == 0, said
        return found

    return run


def test_without_options_the_methods_own_settings_are_taken(asked: Callable[..., dict[str, Any]]) -> None:
    """The defaults of the command are those of the method."""
    found = asked()
    assert asdict(found["network"]) == asdict(STPMConfig())
    assert found["training"] == train.TRAINING


def test_as_published_takes_network_and_training_of_the_papers(asked: Callable[..., dict[str, Any]]) -> None:
    """The second student is as wide as its teacher; an option that is given still counts."""
    found = asked("--as-published", "--second", LITE1, "--epochs", "7")
    expected = replace(STPMConfig(), second=LITE1, second_widths=None, as_published=True)
    assert asdict(found["network"]) == asdict(expected)
    assert found["training"] == replace(train.AS_PUBLISHED, epochs=7)


@pytest.mark.parametrize("published", [(), ("--as-published",)], ids=["own", "as published"])
def test_the_second_student_is_as_wide_as_was_asked(
    asked: Callable[..., dict[str, Any]], published: tuple[str, ...]
) -> None:
    """From fine to coarse, whatever the training."""
    found = asked("--second", LITE1, "--second-widths", "64,128,256", *published)
    assert tuple(found["network"].second_widths) == (64, 128, 256)
