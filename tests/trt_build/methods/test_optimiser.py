"""Groups of weights that learn by themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")

from training import CONFIG, Line  # noqa: E402

from trt_build.methods.checkpoint import CHECKPOINT, load  # noqa: E402
from trt_build.methods.loop import fit  # noqa: E402
from trt_build.methods.optimiser import Group  # noqa: E402


class Beside(Line):
    """The line, and beside it another one whose gradients are a thousand times as long."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.model = torch.nn.ModuleDict({"line": self.model, "other": torch.nn.Linear(1, 1)})

    def loss(self, batch: torch.Tensor) -> torch.Tensor:
        noise = torch.randn_like(batch) * 0.01
        error = (self.model["line"](batch + noise) - 2 * batch - 1).square().mean()
        return error + 1000 * (self.model["other"](batch) - 1).square().mean()


@pytest.mark.parametrize("optimiser", ["adamw", "adam", "sgd"])
def test_a_group_learns_as_if_it_were_alone(tmp_path: Path, optimiser: str):
    """Another group's long gradient does not shorten its own: bit for bit the same weights."""
    config = replace(CONFIG, optimiser=optimiser, clip=0.5)
    fit(Line(), tmp_path / "alone", config, describe={})
    task = Beside()
    task.check = lambda model: {}
    groups = [Group(module=task.model["line"]), Group(module=task.model["other"])]
    fit(task, tmp_path / "beside", config, describe={}, groups=groups)
    alone, beside = (load(tmp_path / name / CHECKPOINT)["weights"] for name in ("alone", "beside"))
    assert all(torch.equal(value, beside[f"line.{name}"]) for name, value in alone.items())


def test_a_group_has_its_share_of_the_rate(tmp_path: Path):
    """A group with a tenth of the rate goes a tenth as far in a step."""
    task = Beside()
    task.check = lambda model: {}
    before = {name: float(value) for name, value in task.model.state_dict().items()}
    task.batches = lambda epoch: [torch.ones(8, 1)]
    line, other = task.model["line"], task.model["other"]
    groups = [Group(module=line), Group(module=other, rate=0.1)]
    config = replace(CONFIG, epochs=1, warm_up=0, cool_down=0, average=0, decay=0)
    fit(task, tmp_path, config, describe={}, groups=groups)
    weights = load(tmp_path / CHECKPOINT)["weights"]
    moved = {name: abs(float(weights[name]) - value) for name, value in before.items()}
    assert moved["line.weight"] == pytest.approx(CONFIG.rate, rel=0.01)
    assert moved["other.weight"] == pytest.approx(CONFIG.rate / 10, rel=0.01)
