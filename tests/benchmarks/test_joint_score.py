"""The table of an autoencoder's variants: what it measures, and that it goes on where it was stopped."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")

import joint_score  # noqa: E402
from drafts import write_parts  # noqa: E402

from trt_build.methods.checkpoint import PROGRESS  # noqa: E402


@pytest.fixture
def measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., dict[str, object]]:
    """Runs the program on small parts; what its line of JSON says."""
    parts = write_parts(tmp_path / "parts", trained=40, good=6, bad=6)
    monkeypatch.setattr(joint_score, "PIXELS", replace(joint_score.PIXELS, hidden=16, code=8))

    def run(*words: str) -> dict[str, object]:
        options = f"--data {parts} --cache {tmp_path / 'cache'} --input pixels --size 32 --epochs 2"
        monkeypatch.setattr(sys, "argv", ["joint_score.py", *options.split(), *words])
        capsys.readouterr()
        joint_score.main()
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    return run


def test_a_run_goes_on_where_it_was_stopped(measured: Callable[..., dict[str, object]], tmp_path: Path) -> None:
    """What is trained already is measured again and not trained again; test parts only where asked for."""
    first = measured("--variants", "none")
    assert set(first["none"]) == {"local", "global"}
    again = measured("--variants", "none", "spectral", "--test")
    assert {"l1", "l2", "joint"} == set(again["none"]["test"])
    assert again["none"]["local"] == first["none"]["local"]
    (folder,) = (tmp_path / "cache").glob("*-none")
    assert len((folder / PROGRESS).read_text().splitlines()) == 2


def test_the_joint_score_adds_both_by_their_lambdas() -> None:
    """One that only L2 finds, and one that only L1 finds, are both found by the sum."""

    class Judged:
        mean, scale, lambdas = torch.zeros(()), torch.ones(()), torch.tensor([1.0, 0.1])

        def two_scores(self, seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return seen[:, 0], seen[:, 1]

    good = torch.tensor([[1.0, 10.0], [1.2, 11.0], [0.9, 12.0]])
    bad = torch.tensor([[3.0, 10.0], [1.0, 30.0]])
    found = joint_score.aurocs(Judged(), good, bad)
    assert found == {"l1": pytest.approx(4.5 / 6, abs=1e-3), "l2": pytest.approx(3.5 / 6, abs=1e-3), "joint": 1}
