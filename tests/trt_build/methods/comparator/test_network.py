from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")

from edge.judges.regions import find_regions  # noqa: E402
from trt_build.methods.comparator.network import STRIDE, Comparator, ComparatorConfig  # noqa: E402
from trt_build.methods.comparator.targets import cover_loss, cover_of, extents_loss, map_loss, targets_of  # noqa: E402

TINY = ComparatorConfig(kinds=("open", "short"), stem=4, widths=(4, 8, 8, 8), blocks=(0, 0, 1, 0))


@pytest.fixture
def tiny() -> Comparator:
    torch.manual_seed(0)
    return Comparator(TINY).eval()


def picture(height: int, width: int, channels: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.randint(
        0, 256, (1, channels, height, width), dtype=torch.uint8, generator=torch.manual_seed(seed)
    )


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 160)])
def test_every_cell_gets_scores_and_extents(tiny: Comparator, height: int, width: int):
    """The map holds a chance for each kind, the extents four distances, for each 4x4 pixels."""
    with torch.inference_mode():
        map_, extents = tiny(picture(height, width), picture(height, width, seed=1))
    assert map_.shape == (1, 2, height // STRIDE, width // STRIDE)
    assert extents.shape == (1, 4, height // STRIDE, width // STRIDE)
    assert 0 <= map_.min() <= map_.max() <= 1
    assert extents.min() >= 0


def test_a_master_encoded_once_serves_every_board(tiny: Comparator):
    """Kept features give to the bit what both pictures together give."""
    master = picture(64, 64)
    with torch.inference_mode():
        features = tiny.encode(master)
        for seed in (1, 2):
            board = picture(64, 64, seed=seed)
            for kept, whole in zip(tiny.compare(features, board), tiny(master, board), strict=True):
                assert torch.equal(kept, whole)


@pytest.mark.parametrize("level", range(4))
def test_each_comparison_reaches_its_own_level_of_the_decoder_and_no_other(tiny: Comparator, level: int):
    """A difference at one level first changes the decoder's level at the same stride; coarser ones stay."""
    with torch.inference_mode():
        board, other = tiny.encode(picture(64, 96)), tiny.encode(picture(64, 96, seed=1))
    before = decoded(tiny, board, board)
    after = decoded(tiny, [*board[:level], other[level], *board[level + 1 :]], board)

    taken, given = (
        [i for i in range(4) if not torch.equal(now[i], then[i])]
        for now, then in zip(after, before, strict=True)
    )
    assert [tuple(value.shape[2:]) for value in after[1]] == [(64 // s, 96 // s) for s in (4, 8, 16, 32)]
    assert taken == [level]
    assert max(given) == level


@pytest.mark.parametrize("level", range(4))
def test_the_decoder_also_takes_the_features_of_the_board_at_each_level(tiny: Comparator, level: int):
    """As a U-Net does: a board that differs from no master still changes the decoder at its own level."""
    with torch.inference_mode():
        board, other = tiny.encode(picture(64, 96)), tiny.encode(picture(64, 96, seed=1))
    mixed = [*board[:level], other[level], *board[level + 1 :]]
    (compared, before), (still, after) = decoded(tiny, board, board), decoded(tiny, mixed, mixed)
    assert all(torch.equal(now, then) for now, then in zip(still, compared, strict=True))
    assert max(i for i in range(4) if not torch.equal(after[i], before[i])) == level


def test_both_pictures_are_encoded_with_the_same_weights(tiny: Comparator):
    """A board that is its master has no difference at any level, and no picture is told apart by its place."""
    with torch.inference_mode():
        one, other = tiny.encode(torch.cat((picture(64, 96), picture(64, 96)))), tiny.encode(picture(64, 96))
    for both, alone in zip(one, other, strict=True):
        assert torch.equal(both[0], both[1])
        torch.testing.assert_close(both[:1], alone)


def decoded(
    model: Comparator, master: list[torch.Tensor], board: list[torch.Tensor]
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """The comparison that each level of the decoder takes, and what it gives, finest level first."""
    taken: dict[int, torch.Tensor] = {}
    given: dict[int, torch.Tensor] = {}
    with ExitStack() as hooks:

        def keep(module: torch.nn.Module, into: dict[int, torch.Tensor], level: int) -> None:
            handle = module.register_forward_hook(lambda _, __, out: into.__setitem__(level, out))
            hooks.callback(handle.remove)

        for level, module in enumerate(model.differing):
            keep(module, taken, level)
        for level, module in enumerate(model.merge):
            keep(module, given, level)
        # The coarsest level has no module of its own: it is what the next one narrows.
        coarsest = model.narrow[-1].register_forward_pre_hook(lambda _, x: given.__setitem__(3, x[0]))
        hooks.callback(coarsest.remove)
        with torch.inference_mode():
            model.decode(master, board)
    return [taken[i] for i in range(4)], [given[i] for i in range(4)]


def test_colour_pictures_can_be_compared():
    """Three channels in are a matter of configuration."""
    model = Comparator(ComparatorConfig(kinds=("stain",), stem=4, widths=(4, 4, 4, 4), in_channels=3)).eval()
    map_, _ = model(picture(64, 64, 3), picture(64, 64, 3, seed=1))
    assert map_.shape == (1, 1, 16, 16)


def test_an_untrained_comparator_reports_nothing(tiny: Comparator):
    """Before training no cell is over half: the first steps are not spent on unlearning noise."""
    map_, _ = tiny(picture(64, 64), picture(64, 64, seed=1))
    assert map_.max() < 0.1


def test_targets_read_back_are_the_boxes():
    """What the network is taught is what `find_regions` turns into the boxes it was made of."""
    boxes = np.array([[10, 12, 50, 40], [70, 60, 101, 97], [3, 80, 30, 120]], np.float32)
    map_, sides = targets_of(boxes, np.array([0, 1, 0]), (128, 128), 2, STRIDE)
    regions = find_regions(map_, sides[1:], thresholds={"open": 0.9, "short": 0.9}, stride=STRIDE)
    found = sorted([r.x, r.y, r.x + r.w, r.y + r.h] for r in regions)
    assert found == [pytest.approx(box) for box in sorted(boxes.tolist())]
    assert sides[0].sum() == pytest.approx(3, abs=1e-4)


def test_the_loss_is_least_at_the_truth():
    """A map and extents as they should be cost next to nothing, anything else more."""
    boxes, kinds = np.array([[10, 12, 50, 40]], np.float32), np.array([1])
    map_, sides = (torch.from_numpy(a)[None] for a in targets_of(boxes, kinds, (64, 64), 2, STRIDE))
    sure = torch.logit(map_.clamp(1e-6, 1 - 1e-6))
    assert map_loss(sure, map_) < 0.1 < map_loss(torch.zeros_like(map_), map_)
    assert extents_loss(sides[:, 1:].clamp(min=0), sides) == pytest.approx(0, abs=1e-5)
    assert extents_loss(sides[:, 1:].clamp(min=0) + 5, sides) > 0.2
    assert map_loss(sure.flip(1), map_) > 1


def test_with_masks_the_map_holds_the_covered_share_of_each_cell():
    """Each kind has its own map; the loss is least at the truth, and next to nothing for good boards."""
    mask = np.zeros((16, 16), np.uint8)
    mask[0:4, 0:4], mask[4:6, 8:12], mask[15, 15] = 1, 2, 2
    cover = cover_of(mask, 2, STRIDE)
    assert cover.shape == (2, 4, 4)
    assert cover[0].sum() == cover[0, 0, 0] == 1
    assert (cover[1, 1, 2], cover[1, 3, 3], cover[1].sum()) == (0.5, 1 / 16, 0.5 + 1 / 16)
    truth = torch.from_numpy(cover)[None]
    sure = torch.logit(truth.clamp(1e-6, 1 - 1e-6))
    assert cover_loss(sure, truth) < cover_loss(sure * 0.5, truth) < cover_loss(sure.flip(1), truth)
    nothing = torch.zeros(1, 2, 4, 4)
    assert cover_loss(nothing - 12, nothing) < 0.01 < cover_loss(nothing, nothing)


def test_a_board_without_defects_has_a_finite_loss():
    """Clean crops, with no box in them, train too."""
    empty = np.empty((0, 4), np.float32), np.empty(0, np.int64)
    map_, sides = (torch.from_numpy(a)[None] for a in targets_of(*empty, (64, 64), 2, STRIDE))
    logits = torch.zeros_like(map_, requires_grad=True)
    loss = map_loss(logits, map_) + extents_loss(torch.ones(1, 4, 16, 16), sides)
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad.abs().sum() > 0
