from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")

from trt_build.backbones.open import build_backbone  # noqa: E402
from trt_build.graphs.fp32 import _export  # noqa: E402
from trt_build.methods.pfm.level import Level, Pair, position_code  # noqa: E402
from trt_build.methods.pfm.network import PFM, PFMConfig  # noqa: E402

SMALL = PFMConfig(height=64, width=96, strides=(4, 8, 16), latents=(4, 4, 4))


@pytest.fixture(scope="module")
def small() -> PFM:
    """Projections and backbones as they are before any training."""
    torch.manual_seed(0)
    return PFM(SMALL).eval()


def pictures(count: int = 1, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 64, 96), dtype=torch.uint8, generator=generator)


def features(seed: int, channels: tuple[int, int] = (8, 12)) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    first, second = (torch.randn(2, width, 6, 5, generator=generator) + 1 for width in channels)
    return first, second


def test_every_part_gets_a_score_and_a_map(small: PFM):
    """A finite score for each part, and a map with a number for each cell of the finest level."""
    with torch.inference_mode():
        score, map_ = small(pictures(2))
    assert score.shape == (2,)
    assert map_.shape == (2, 1, 16, 24)
    assert torch.isfinite(score).all()
    assert torch.isfinite(map_).all()


def test_a_part_is_judged_by_itself(small: PFM):
    """The parts that happen to come along in a batch change nothing."""
    with torch.inference_mode():
        together, alone = small(pictures(2))[0], small(pictures(2)[1:])[0]
    torch.testing.assert_close(together[1:], alone, rtol=1e-4, atol=1e-5)


def test_levels_can_be_left_out():
    """The map is as fine as the finest level that is looked at."""
    model = PFM(PFMConfig(height=64, width=64, strides=(16,), latents=(4,))).eval()
    assert model(pictures()[..., :64])[1].shape == (1, 1, 4, 4)


def wrong(level: Level, seen: Pair, *, least: float = 1.0) -> Pair:
    """How wrong the predictions of both networks' features are, a map for each."""
    return level.distances(seen, level.tell(seen), least=least)


def test_both_ways_have_a_map_of_their_own():
    """What is wrong with the second network's features shows where it is, whichever way it is told by."""
    torch.manual_seed(0)
    level = Level((8, 12), 4, None).eval()
    first, second = features(0)
    changed = second.clone()
    changed[0, :, 2, 3] = torch.linspace(-9, 9, 12)
    with torch.inference_mode():
        for before, after in zip(wrong(level, (first, second)), wrong(level, (first, changed)), strict=True):
            moved = (before - after).abs() > 1e-6
            assert moved.nonzero().tolist() == [[0, 0, 2, 3]]


def test_features_are_whitened_by_what_good_parts_show():
    """What each network sees of good parts has no mean, a variance of one, and no channel like another."""
    level = Level((8, 12), 4, None)
    first, second = features(2)
    first[:, 1] = 2 * first[:, 0] + first[:, 1]
    level.fit_features([(first[:1], second[:1]), (first[1:], second[1:])])
    white = level.whiten((first, second))[0].transpose(0, 1).flatten(1)
    torch.testing.assert_close(white.mean(1), torch.zeros(8), atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.cov(white), torch.eye(8), atol=0.1, rtol=0)


def test_places_where_much_is_expected_may_differ_more():
    """The same difference counts less where the other network tells of features far from the mean."""
    torch.manual_seed(0)
    level = Level((8, 12), 4, None).eval()
    first, second = features(3)
    with torch.inference_mode():
        told, _ = level.tell((first, second))
        off, _ = wrong(level, (told + 1, second), least=0.3)
    torch.testing.assert_close(off, 1 / (0.3 + told.square().mean(1, keepdim=True)), rtol=1e-4, atol=1e-5)


def test_good_parts_set_the_scale(small: PFM):
    """After good parts were looked at, most of their cells are below zero and only few above 0.1."""
    model = PFM(SMALL).eval()
    model.load_state_dict(small.state_dict())
    with torch.inference_mode():
        model.fit_features([model.look(pictures(4))])
        seen = [model.whiten(model.look(pictures(1, seed))) for seed in range(4)]
        model.fit_scale(seen)
        maps = [model.maps(pair) for pair in seen]
        for number, scale in enumerate((model.scored, model.shown)):
            cells = torch.cat([scale(both[number])[1] for both in maps])
            assert float((cells > 0.1).float().mean()) < 0.02
            assert 0.7 < float((cells < 0).float().mean()) < 1


def test_weak_features_count_more_in_the_score_than_in_the_map(small: PFM):
    """A faint defect is told from good parts by the score; the map has fewer cells that are too high."""
    seen = small.whiten(small.look(pictures(1)))
    with torch.inference_mode():
        scored, shown = small.maps(seen)
        told = [
            features for level, pair in zip(small.levels, seen, strict=True) for features in level.tell(pair)
        ]
    for one, other, expected in zip(scored, shown, told, strict=True):
        strength = expected.square().mean(1, keepdim=True)
        torch.testing.assert_close(one / other, (1 + strength) / (0.3 + strength), rtol=1e-3, atol=0)


def test_places_have_codes_of_their_own():
    """With position codes no two places look the same to the projections; without, they do."""
    codes = position_code(12, 5, 7).flatten(2)[0].T
    assert float((torch.cdist(codes, codes) + torch.eye(35)).min()) > 0.1
    torch.manual_seed(0)
    level = Level((8, 12), 4, (6, 5)).eval()
    plain = torch.ones(1, 8, 6, 5), torch.ones(1, 12, 6, 5)
    with torch.inference_mode():
        coded = wrong(level, plain)[0].flatten()
        level.placed = False
        uncoded = wrong(level, plain)[0].flatten()
    assert len(coded.unique()) > 20
    torch.testing.assert_close(uncoded, uncoded[:1].expand(30))


def test_the_code_of_a_place_is_the_same_in_training():
    """Places that are picked for training get the code that they have in a picture."""
    level = Level((8, 12), 4, (6, 5))
    first, second = level.codes_at(torch.tensor([7, 29])) or (torch.empty(0), torch.empty(0))
    assert torch.equal(first[0, :, :, 0].T, position_code(8, 6, 5)[0, :, [1, 5], [2, 4]].T)
    assert second.shape == (1, 12, 2, 1)


def test_the_backbones_are_left_as_they_are(small: PFM):
    """Frozen: no gradient reaches them, and training mode does not reach them either."""
    small.train()
    try:
        assert not any(backbone.training for backbone in (small.first, small.second))
        moved = {name for name, weight in small.named_parameters() if weight.requires_grad}
    finally:
        small.eval()
    assert moved
    assert all(name.startswith("levels.") for name in moved)


def test_the_order_of_backbones_is_the_order_of_channels():
    """A level is made for the channels of the backbones that the configuration names."""
    first, second = build_backbone("mobilenet_v2").channels, build_backbone("mobilenet_v1").channels
    names = {"first": "mobilenet_v2", "second": "mobilenet_v1"}
    (level,) = PFM(PFMConfig(**names, height=64, width=64, strides=(8,), latents=(4,))).levels
    shapes = [tuple(level.get_buffer(f"whitenings.{way}.mean").shape) for way in (0, 1)]
    assert shapes == [(first[1], 1), (second[1], 1)]


class _AfterBackbones(torch.nn.Module):
    """The model without its backbones, whose graphs are no matter of this file."""

    def __init__(self, model: PFM) -> None:
        super().__init__()
        self.model = model

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.model.judge(self.model.whiten([(first, second)]))


@pytest.mark.parametrize("as_published", [False, True], ids=["ours", "as published"])
def test_the_exported_graph_gives_what_the_model_gives(tmp_path: Path, as_published: bool):
    """ONNX Runtime answers as torch does, position codes included."""
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    config = PFMConfig(height=64, width=64, strides=(8,), latents=(4,), position=True)
    model = PFM(replace(config, as_published=as_published)).eval()
    with torch.inference_mode():
        model.fit_scale([model.whiten(model.look(pictures(1, 5)[..., :64]))])
        (seen,) = model.look(pictures()[..., :64])
        expected = _AfterBackbones(model)(*seen)
    _export(_AfterBackbones(model), seen, tmp_path / "pfm.onnx", ["first", "second"], ["score", "map"])
    session = onnxruntime.InferenceSession(tmp_path / "pfm.onnx", providers=["CPUExecutionProvider"])
    found = session.run(None, {"first": seen[0].numpy(), "second": seen[1].numpy()})
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other.numpy(), rtol=2e-3, atol=2e-3)
