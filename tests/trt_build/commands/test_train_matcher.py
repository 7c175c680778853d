"""`trt-build train matcher`: which products and options it takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs torch, which only building models uses")
pytest.importorskip("safetensors", reason="needs safetensors, which only building models uses")

from drafts import write_products

from trt_build.methods.checkpoint import CHECKPOINT, load

pytestmark = pytest.mark.usefixtures("nowhere")
Run = Callable[..., tuple[int, str, str]]


def test_too_few_products_are_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    """A matcher learns by telling many products apart, and by others how well it does."""
    products = write_products(tmp_path / "products", products=20, photos=1)
    assert "expected at least 64 products to train with and 2 to measure by, found " in refused(
        "matcher", products
    )


def test_a_matcher_trains_as_published(trt_build: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the branch of its source, on few products, for as long as was asked; its test loss is measured."""
    from trt_build.methods.matcher import network

    small = replace(network.SOURCE, widths=(4, 4, 4, 4), embedding=16)
    monkeypatch.setattr(network, "SOURCE", small)
    products, run = write_products(tmp_path / "products", products=20), tmp_path / "run"
    words = ("--as-published", "--epochs", "2", "--batch", "8", "--pairs-per-epoch", "24", "--stop-from", "1")
    status, _, said = trt_build("train", "matcher", products, run, *words)
    assert status == 0, said
    state = load(run / CHECKPOINT)
    assert state["describe"]["config"]["branch"] == "source"
    config = state["config"]
    assert (config["epochs"], config["stop_from"], config["rate"], config["decay"]) == (2, 1, 1e-4, 0)
    lines = [json.loads(line) for line in (run / "progress.jsonl").read_text().splitlines()]
    assert [line["rate"] for line in lines] == [1e-4, 1e-4]
    assert all(0.3 < line["test_loss"] < 1.4 for line in lines)


def test_a_matcher_of_letters_is_trained(
    trt_build: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its network lays the ink in the middle and compares place by place; the checkpoint says so."""
    from trt_build.methods.matcher import network

    small = replace(network.LETTERS, size=33, centred=24, widths=(4, 8), blocks=(0, 1))
    monkeypatch.setattr(network, "LETTERS", small)
    products, run = write_products(tmp_path / "products", products=20), tmp_path / "run"
    status, _, said = trt_build("train", "matcher", products, run, "--letters", "--epochs", "1", "--batch", "8")
    assert status == 0, said
    state = load(run / CHECKPOINT)
    assert (state["describe"]["config"]["head"], state["describe"]["config"]["centred"]) == ("map", 24)
    assert (state["config"]["rate"], state["config"]["epochs"]) == (3e-3, 1)


def test_letters_are_not_trained_as_published(trt_build: Run, tmp_path: Path) -> None:
    """Both options name a network."""
    words = ("--letters", "--as-published")
    status, _, said = trt_build("train", "matcher", tmp_path, tmp_path / "run", *words)
    assert status == 2
    assert "--letters: not with --as-published" in said


@pytest.mark.parametrize("option", ["--pairs-per-epoch", "--stop-from"])
def test_options_of_the_published_training_need_it(trt_build: Run, tmp_path: Path, option: str) -> None:
    """The error names the option and what it is for."""
    status, _, said = trt_build("train", "matcher", tmp_path, tmp_path / "run", option, "5")
    assert status == 2
    assert f"{option}: does nothing without --as-published" in said


def test_a_broken_picture_of_a_product_is_named(refused: Callable[..., str], tmp_path: Path) -> None:
    """Before anything is learned from the others."""
    products = write_products(tmp_path / "products", products=2, photos=1)
    (products / "product-01/photo-0.png").write_bytes(b"no picture")
    assert "product-01/photo-0.png: expected a picture" in refused("matcher", products)
