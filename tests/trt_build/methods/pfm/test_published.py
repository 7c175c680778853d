"""PFM as its papers have it, against arithmetic of this file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")

from trt_build.data.parts import pictures, read_parts  # noqa: E402
from trt_build.figures.ranking import image_auroc  # noqa: E402
from trt_build.methods.checkpoint import CHECKPOINT, load  # noqa: E402
from trt_build.methods.loop import fit  # noqa: E402
from trt_build.methods.pfm.level import Level  # noqa: E402
from trt_build.methods.pfm.network import PFM, PFMConfig  # noqa: E402
from trt_build.methods.pfm.published import MeanMap  # noqa: E402
from trt_build.methods.pfm.train import (  # noqa: E402
    AS_PUBLISHED,
    AS_PUBLISHED_POSITION,
    PFMTask,
    _groups,
    train_pfm,
)
from trt_build.methods.trained import load_trained  # noqa: E402

SMALL = PFMConfig(
    first="mobilenet_v2",
    second="mobilenet_v1",
    height=64,
    width=64,
    strides=(4, 8, 16),
    latents=(4, 8, 8),
    as_published=True,
)


def task_of(config: PFMConfig, count: int, whole: int) -> PFMTask:
    """Random features of some good parts, and projections that have learned nothing."""
    torch.manual_seed(0)
    model = PFM(config)
    shapes = zip(model.first.channels, model.second.channels, (16, 8, 4), strict=True)
    seen = [
        (torch.rand(count, one, cells, cells).half(), torch.rand(count, other, cells, cells).half())
        for one, other, cells in shapes
    ]
    return PFMTask(model=model, seen=seen, held_out=[], whole=whole)


def test_projections_have_the_layers_of_the_paper():
    """Their widths, for ResNet-34 and ResNet-50 at stride 4; both ways share the layer in the middle."""
    level = Level((64, 256), 200, None, as_published=True)
    widths = [(weight.shape[1], weight.shape[0]) for weight in level.parameters() if weight.ndim == 4]
    encoders = [(64, 232), (232, 400), (256, 328), (328, 400)]
    decoders = [(200, 400), (400, 232), (232, 64), (200, 400), (400, 328), (328, 256)]
    assert widths == [*encoders, (400, 200), *decoders]


def test_features_have_a_length_of_one():
    """Nothing is learned from good parts about what their features are like."""
    model = PFM(SMALL).eval()
    image = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        raw = model.look(image)
        model.fit_features([raw])
        for pair, given in zip(model.whiten(raw), raw, strict=True):
            for features, before in zip(pair, given, strict=True):
                length = before.square().sum(1, keepdim=True).sqrt()
                torch.testing.assert_close(features * length, before)


def test_errors_are_squared_lengths():
    """Each direction's error is the squared length of the difference, summed over the channels."""
    torch.manual_seed(0)
    level = Level((8, 12), 4, None, as_published=True).eval()
    first, second = torch.randn(2, 8, 6, 5), torch.randn(2, 12, 6, 5)
    with torch.inference_mode():
        told, other = level.tell((first, second))
        found = level.distances((first, second), level.tell((first, second)), least=1.0)
    for map_, seen, expected in zip(found, (first, second), (told, other), strict=True):
        torch.testing.assert_close(map_[:, 0], ((seen - expected) ** 2).sum(1))


def test_the_map_is_the_mean_and_the_score_its_maximum():
    """Maps of all strides are brought to the picture's size, with neither smoothing nor scale."""
    fine, coarse = torch.zeros(1, 1, 16, 16), torch.full((1, 1, 4, 4), 3.0)
    fine[0, 0, 5, 7] = 1
    score, map_ = MeanMap(64)([fine, fine, coarse, coarse])
    assert map_.shape == (1, 1, 64, 64)
    # Halfway between cells is the middle, so the nearest pixels are an eighth of a cell off, along each axis.
    assert float(score) == pytest.approx((0.875**2 + 3) / 2)
    assert float(map_[0, 0, 40, 3]) == pytest.approx(1.5)


def test_an_epoch_takes_every_cell_of_every_picture_once():
    """In steps of whole pictures, the last with what is left; another epoch has another order."""
    task = task_of(SMALL, count=7, whole=3)
    steps = list(task.batches(0))
    assert len(task.batches(0)) == len(steps) == 3
    for level, cells in enumerate((256, 64, 16)):
        assert [len(step[level]) for step in steps] == [3 * cells, 3 * cells, cells]
        taken = torch.cat([step[level] for step in steps])
        assert taken.sort().values.tolist() == list(range(7 * cells))
        pictures_of = (steps[0][level] // cells).unique()
        assert len(pictures_of) == 3
    assert not torch.equal(steps[0][0], next(iter(task.batches(1)))[0])


@pytest.mark.parametrize(
    ("training", "position", "rates"),
    [
        (AS_PUBLISHED, False, (3e-3, 3e-4, 3e-4)),
        (AS_PUBLISHED_POSITION, True, (3e-4, 3e-4, 3e-4)),
    ],
    ids=["PFM", "PEFM"],
)
def test_each_stride_learns_at_its_own_rate(tmp_path: Path, training, position: bool, rates: tuple[float, ...]):
    """In its first step Adam moves each weight by the rate; no mean of the weights hides it."""
    task = task_of(replace(SMALL, position=position), count=4, whole=4)
    task = replace(task, held_out=[task.seen])
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    fit(task, tmp_path, replace(training, epochs=1), describe={}, groups=_groups(task.model))
    after = load(tmp_path / CHECKPOINT)["weights"]
    for number, rate in enumerate(rates):
        name = f"levels.{number}.coder.weight"
        assert float((after[name] - before[name]).abs().median()) == pytest.approx(rate, rel=0.01)


def test_a_training_as_published_finds_spots(part_folder: Path, weights: tuple[Path, Path], tmp_path: Path):
    """Few epochs on networks that have seen nothing already rank parts with a spot higher."""
    training, network = replace(AS_PUBLISHED, epochs=9), replace(SMALL, strides=(8, 16), latents=(8, 8))
    assert train_pfm(part_folder, tmp_path, network=network, training=training, weights=weights) == 9
    model = load_trained(tmp_path / CHECKPOINT).network
    tested = read_parts(part_folder).test
    with torch.inference_mode():
        score, map_ = model(torch.from_numpy(pictures(tested, SMALL.spec)))
    good = np.array([part.is_good for part in tested])
    assert map_.shape[1:] == (1, 64, 64)
    assert image_auroc(score.numpy()[good], score.numpy()[~good]) > 0.9
