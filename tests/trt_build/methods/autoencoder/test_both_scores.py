"""Why a part has two scores: figure 5 of the patent, with pictures of discs and a network trained on them."""

from __future__ import annotations

from dataclasses import asdict, replace

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")

from trt_build.methods.autoencoder.network import PIXELS, Autoencoder  # noqa: E402
from trt_build.methods.autoencoder.task import AutoencoderTask, LossConfig  # noqa: E402
from trt_build.methods.checkpoint import CHECKPOINT  # noqa: E402
from trt_build.methods.loop import TrainConfig, fit  # noqa: E402
from trt_build.methods.trained import load_trained  # noqa: E402

SMALL = replace(PIXELS, height=32, width=32, code=4, hidden=32)
#: Levels of grey of a good part's disc.
LIGHT = (120, 180)


def disc(rng: np.random.Generator, *, light: int | None = None, dot: bool = False) -> np.ndarray:
    """A picture `(3, 32, 32)` uint8 of a disc, by default a good one, and on demand a bright dot beside it."""
    picture = np.full((32, 32, 3), 90, np.float32)
    grey = int(rng.integers(*LIGHT)) if light is None else light
    cv2.circle(picture, (int(rng.integers(12, 20)), 16), 8, (grey, grey, grey), -1)
    if dot:
        picture[3:6, 25:28] += 110
    return (picture + rng.uniform(-4, 4, picture.shape)).clip(0, 255).astype(np.uint8).transpose(2, 0, 1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Autoencoder:
    """Trained on 120 good discs; the lambdas are those of 20 others."""
    rng = np.random.default_rng(0)
    good = torch.from_numpy(np.stack([disc(rng) for _ in range(140)])).float()
    torch.manual_seed(0)
    model = Autoencoder(SMALL)
    seen = model.fit_features(good[:120])
    losses = LossConfig(pull=0.1, batch=20)
    task = AutoencoderTask(
        model=model, seen=seen, held_out=model.look(good[120:]), loss_config=losses, epochs=40
    )
    folder = tmp_path_factory.mktemp("discs")
    training = TrainConfig(epochs=40, rate=4e-3, check_every=40, bf16=False)
    fit(task, folder, training, describe={"model": "autoencoder", "config": asdict(SMALL)})
    return load_trained(folder / CHECKPOINT).network


def scores(model: Autoencoder, pictures: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Each score alone, weighted, and their sum."""
    l1, l2 = model.two_scores(model.look(torch.from_numpy(np.stack(pictures))))
    l1, l2 = (l1 * model.lambdas[0]).numpy(), (l2 * model.lambdas[1]).numpy()
    return {"l1": l1, "l2": l2, "joint": l1 + l2}


@pytest.mark.parametrize(
    ("defect", "missed_by"),
    [
        pytest.param({"dot": True}, "l1", id="local: a dot"),
        pytest.param({"light": 190}, "l2", id="global: a disc brighter than all"),
    ],
)
def test_one_score_misses_what_both_together_find(
    trained: Autoencoder, defect: dict[str, object], missed_by: str
) -> None:
    """The code hardly tells of a dot, and a disc that is too bright is reconstructed; the sum rejects both.

    No good part is rejected: the limit of each score is the highest of 100 good parts.
    """
    rng = np.random.default_rng(9)
    limits = {name: s.max() for name, s in scores(trained, [disc(rng) for _ in range(100)]).items()}
    found = scores(trained, [disc(rng, **defect) for _ in range(20)])
    rejected = {name: float((s > limits[name]).mean()) for name, s in found.items()}
    found_by = "l2" if missed_by == "l1" else "l1"
    assert rejected[missed_by] < 0.4
    assert rejected[found_by] > 0.7
    assert rejected["joint"] > 0.7
