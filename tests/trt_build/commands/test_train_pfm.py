"""The options of `trt-build train pfm`: they reach the network that is trained, and wrong ones are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")

from trt_build.methods.loop import TrainConfig  # noqa: E402
from trt_build.methods.pfm import train  # noqa: E402
from trt_build.methods.pfm.network import PFMConfig  # noqa: E402

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def asked(trt_build: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Runs the command with some options; the settings with which it would train."""

    def run(*options: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        monkeypatch.setattr(train, "train_pfm", lambda data, folder, **settings: found.update(settings))
        status, _, said = trt_build("train", "pfm", tmp_path, tmp_path / "run", *options)
        assert status == 0, said
        return found

    return run


@pytest.mark.parametrize(
    ("options", "strides", "latents"),
    [
        ((), (4, 8, 16), (64, 64, 64)),
        (("--strides", "8,16"), (8, 16), (64, 64)),
        (("--latents", "32,48,64"), (4, 8, 16), (32, 48, 64)),
        (("--strides", "4,8,16", "--latents", "200,400,900"), (4, 8, 16), (200, 400, 900)),
        (("--strides", "16", "--latents", "9"), (16,), (9,)),
        (("--as-published",), (4, 8, 16), (200, 400, 900)),
        (("--as-published", "--position"), (4, 8, 16), (200, 400, 800)),
        (("--as-published", "--strides", "8,16"), (8, 16), (400, 900)),
        (("--as-published", "--latents", "1,2,3"), (4, 8, 16), (1, 2, 3)),
    ],
)
def test_strides_and_widths_are_those_asked_for(
    asked: Callable[..., dict[str, Any]],
    options: tuple[str, ...],
    strides: tuple[int, ...],
    latents: tuple[int, ...],
) -> None:
    """All three strides and the widths of the paper can be had."""
    network = asked(*options)["network"]
    assert (network.strides, network.latents) == (strides, latents)


def test_without_options_the_methods_own_settings_are_taken(asked: Callable[..., dict[str, Any]]) -> None:
    """The defaults of the command are those of the method."""
    found = asked()
    assert asdict(found["network"]) == asdict(PFMConfig())
    assert found["training"] == train.TRAINING


@pytest.mark.parametrize(
    ("options", "training"),
    [
        (("--as-published",), train.AS_PUBLISHED),
        (("--as-published", "--position"), train.AS_PUBLISHED_POSITION),
    ],
)
def test_a_paper_is_followed_in_network_and_training(
    asked: Callable[..., dict[str, Any]], options: tuple[str, ...], training: TrainConfig
) -> None:
    """One option asks for all that the paper states; fewer epochs can still be asked for."""
    found = asked(*options)
    assert found["network"].as_published
    assert found["training"] == training
    assert asked(*options, "--epochs", "3")["training"] == replace(training, epochs=3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--strides", "4,8,32"), "expected some of 4,8,16, from fine to coarse, found '4,8,32'"),
        (("--strides", "16,8"), "from fine to coarse, found '16,8'"),
        (("--strides", "8,8"), "found '8,8'"),
        (("--strides", ""), "--strides"),
        (("--latents", "64"), "expected 3 numbers over 0, one for each stride, with commas, found '64'"),
        (("--latents", "64,64,0"), "found '64,64,0'"),
        (("--latents", "64;64;64"), "found '64;64;64'"),
        (("--strides", "8,16", "--latents", "64,64,64"), "expected 2 numbers"),
    ],
)
def test_wrong_strides_and_widths_are_refused(
    trt_build: Run, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    """The error names the option and what it takes, before any picture is read."""
    status, _, err = trt_build("train", "pfm", tmp_path, tmp_path / "run", *options)
    text = " ".join(err.replace("│", " ").split())
    assert status == 2
    assert said in text
    assert options[-2] in text
