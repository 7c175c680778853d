from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")

from trt_build.data.products import DRAWING, PHOTO, Pictures  # noqa: E402
from trt_build.figures.matching import Pairs  # noqa: E402
from trt_build.methods.checkpoint import CHECKPOINT, load  # noqa: E402
from trt_build.methods.loop import TrainConfig, fit  # noqa: E402
from trt_build.methods.matcher.augment import AS_IT_IS, side_by_side  # noqa: E402
from trt_build.methods.matcher.batches import PairSampling, Sampling, SinglePairs, choose_pairs  # noqa: E402
from trt_build.methods.matcher.network import SOURCE, Matcher, MatcherConfig  # noqa: E402
from trt_build.methods.matcher.train import (  # noqa: E402
    AS_PUBLISHED,
    MatcherTask,
    embed_with,
    pairs_loss,
    single_loss,
    train_matcher,
)
from trt_build.methods.trained import load_trained  # noqa: E402

TINY = MatcherConfig(size=33, widths=(4, 8), blocks=(0, 1), embedding=16)
TINY_LETTERS = MatcherConfig(size=33, centred=24, widths=(4, 8), blocks=(0, 1), head="map", scale=16.0)
TINY_SOURCE = MatcherConfig(branch="source", widths=(4, 4, 4, 4), blocks=(), embedding=16)


def pictures(count: int, size: int, channels: int = 1) -> torch.Tensor:
    return torch.randint(
        0, 256, (count, channels, size, size), dtype=torch.uint8, generator=torch.manual_seed(0)
    )


def shapes(products: int, drawings: int = 1, photos: int = 1, size: int = 33, seed: int = 0) -> Pictures:
    """Products in two groups: a bar each at its own place and angle, drawn dark, photographed light."""
    rng = np.random.default_rng(seed)
    made, product, hand = [], [], []
    y, x = np.mgrid[:size, :size] - size // 2
    for number in range(products):
        angle, offset = rng.uniform(0, np.pi), rng.uniform(-8, 8)
        bar = np.abs(x * np.cos(angle) + y * np.sin(angle) - offset) < 2
        for by in [DRAWING] * drawings + [PHOTO] * photos:
            picture = np.where(bar, 0, 255)
            if by == PHOTO:
                picture = np.where(bar, 220, rng.integers(0, 120, bar.shape))
            made.append(picture[None])
            product.append(number)
            hand.append(by)
    return Pictures(
        pictures=np.array(made, np.uint8),
        product=np.array(product),
        group=np.array(product) % 2,
        hand=np.array(hand),
        names=tuple(f"{i}" for i in range(products)),
    )


@pytest.mark.parametrize(
    ("config", "numbers"),
    [(TINY, 16), (TINY_LETTERS, 64 * 6 * 6), (TINY_SOURCE, 16)],
    ids=["residual", "letters", "source"],
)
def test_a_picture_becomes_a_vector_of_length_one(config: MatcherConfig, numbers: int):
    """Whatever the branch and the batch, so that a cosine is one product."""
    model = Matcher(config).eval()
    with torch.inference_mode():
        vectors = model(pictures(3, config.size))
        alone = model(pictures(3, config.size)[:1])
    assert vectors.shape == (3, numbers)
    assert vectors.dtype == torch.float32
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(vectors[:1], alone)


@pytest.mark.parametrize("config", [TINY, TINY_LETTERS], ids=["residual", "letters"])
def test_a_blank_picture_has_a_vector_too(config: MatcherConfig):
    """White all over gives numbers, not a division by zero."""
    with torch.inference_mode():
        blank = Matcher(config).eval()(torch.full((1, 1, 33, 33), 255, dtype=torch.uint8))
    assert torch.isfinite(blank).all()


def test_a_letter_has_the_same_vector_wherever_it_is_drawn():
    """Its place and its size make far less difference than another letter does, without any training."""
    drawn = torch.full((4, 1, 105, 105), 255, dtype=torch.uint8)
    drawn[0, :, 10:50, 10:18] = drawn[0, :, 42:50, 10:40] = 0  # an L
    drawn[1, :, 60:100, 50:58] = drawn[1, :, 92:100, 50:80] = 0  # elsewhere
    drawn[2, :, 20:80, 30:42] = drawn[2, :, 68:80, 30:75] = 0  # and larger
    drawn[3, :, 10:50, 22:30] = drawn[3, :, 10:18, 10:42] = 0  # a T
    torch.manual_seed(0)
    with torch.inference_mode():
        vectors = Matcher(replace(TINY_LETTERS, size=105, centred=48)).eval()(drawn)
    cosine = vectors @ vectors.T
    assert min(cosine[0, 1], cosine[0, 2]) > 0.95
    assert cosine[0, 3] < 0.7


def test_a_map_keeps_each_stroke_in_its_place():
    """Ink in a corner changes the features near the corner alone; a dense layer would spread it."""
    model = Matcher(replace(TINY_LETTERS, size=64, centred=0)).eval()
    assert isinstance(model.branch[-1], torch.nn.Flatten)
    features = torch.nn.Sequential(*model.branch[:-1])
    pictures = torch.zeros(2, 1, 64, 64)
    pictures[1, :, :9, :9] = 1
    with torch.inference_mode():
        blank, inked = features(pictures)
    changed = (inked - blank).abs().amax(dim=0)
    assert changed.shape == (16, 16)
    assert changed[0, 0] > 0
    assert changed[8:].max() == changed[:, 8:].max() == 0


def test_a_map_says_which_places_count():
    """Each place has a weight of its own that is learned."""
    model = Matcher(TINY_LETTERS).eval()
    weight = model.branch[-2].weight
    assert weight.requires_grad
    with torch.no_grad():
        weight[0] = 0
        vectors = model(pictures(2, 33)).view(2, 64, 6, 6)
    assert (vectors[:, :, 0] == 0).all()
    assert (vectors[:, :, 1] != 0).any()


def test_the_first_scale_of_the_cosine_can_be_chosen():
    """The logit of a full similarity is this scale plus the offset."""
    torch.testing.assert_close(Matcher(TINY_LETTERS).logit(torch.tensor(1.0)), torch.tensor(11.0))


def test_colour_pictures_can_be_matched():
    """Three channels in are a matter of configuration."""
    colour = MatcherConfig(size=33, widths=(4, 8), blocks=(0, 1), embedding=16, in_channels=3)
    assert Matcher(colour).eval()(pictures(2, 33, 3)).shape == (2, 16)


def test_the_source_branch_is_table_1():
    """Maps of 96, 42, 18 and 6 pixels before pooling, 9,216 numbers into the dense layer, 4,096 out."""
    with torch.device("meta"):
        model = Matcher(SOURCE)
        sizes = []
        for layer in model.branch:
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.register_forward_hook(lambda _, inputs, output: sizes.append(tuple(output.shape[1:])))
        vectors = model.eval()(torch.zeros(1, 1, 105, 105, dtype=torch.uint8))
    assert sizes == [(64, 96, 96), (128, 42, 42), (128, 18, 18), (256, 6, 6)]
    assert vectors.shape == (1, 4096)
    order = [type(layer).__name__ for layer in model.branch[:4]]
    assert order == ["Conv2d", "ReLU", "BatchNorm2d", "MaxPool2d"]
    assert model.branch[-1].weight.shape == (4096, 9216)


def test_the_sources_logit_is_the_bare_cosine():
    """Nothing is learned between the cosine and the loss there; in the residual branch scale and bias are."""
    cosine = torch.tensor([-1.0, 0.0, 1.0])
    source, ours = Matcher(TINY_SOURCE), Matcher(TINY)
    torch.testing.assert_close(source.logit(cosine), cosine)
    torch.testing.assert_close(ours.logit(cosine), torch.tensor([-15.0, -5.0, 5.0]))
    assert not source.log_scale.requires_grad
    assert not source.offset.requires_grad
    assert ours.log_scale.requires_grad
    assert ours.offset.requires_grad


def test_a_round_shows_two_pictures_of_each_product():
    """One by each hand, and every product once a round, in runs of one group."""
    some, sampling = shapes(24, drawings=3, photos=2), PairSampling(pairs=8, alike=4, rounds=2)
    chosen = choose_pairs(some, sampling, np.random.default_rng(0))
    first, second = chosen.pictures.T
    assert len(first) == 48
    assert chosen.same.all()
    assert (some.product[first] == some.product[second]).all()
    assert (some.hand[first] != some.hand[second]).all()
    assert set(some.hand[first]) == {DRAWING, PHOTO}
    assert sorted(some.product[first[:24]]) == sorted(some.product[first[24:]]) == [*range(24)]
    for run in range(0, 24, 4):
        assert len(set(some.group[first[run : run + 4]])) == 1
        assert len(set(chosen.run[run : run + 4])) == 1
    assert sorted(set(chosen.run[:24])) == [*range(6)]


def test_single_pairs_are_of_all_kinds_and_half_of_them_different():
    """Drawing with photo, drawing with drawing, photo with photo, a third each; same to different 1:1."""
    some = shapes(40, drawings=2, photos=2)
    sampling = SinglePairs(pairs=8, per_epoch=1200)
    chosen = choose_pairs(some, sampling, np.random.default_rng(0))
    first, second = chosen.pictures.T
    assert len(first) == 1200
    assert chosen.same.mean() == 0.5
    np.testing.assert_array_equal(chosen.same, some.product[first] == some.product[second])
    assert (first != second).all()
    for wanted in (True, False):
        kinds = (some.hand[first] + some.hand[second])[chosen.same == wanted]
        np.testing.assert_allclose(np.bincount(kinds) / len(kinds), [1 / 3] * 3, atol=0.06)


def test_joined_products_differ_in_a_half_at_least():
    """Two products side by side are shown as one: no two places of a run show the same two, many share one."""
    some = shapes(64)
    sampling = PairSampling(pairs=16, alike=16, rounds=1, joined=1.0)
    chosen = choose_pairs(some, sampling, np.random.default_rng(0))
    shown = np.stack((some.product[chosen.pictures[:, 0]], some.product[chosen.beside[:, 0]]), axis=1)
    np.testing.assert_array_equal(shown[:, 0], some.product[chosen.pictures[:, 1]])
    np.testing.assert_array_equal(shown[:, 1], some.product[chosen.beside[:, 1]])
    for run in np.unique(chosen.run):
        mine = shown[chosen.run == run]
        assert len(np.unique(mine, axis=0)) == len(mine) == 16
        assert len(np.unique(mine)) == 8
    assert (choose_pairs(some, PairSampling(pairs=16), np.random.default_rng(0)).beside == -1).all()


def test_joined_products_are_drawn_side_by_side():
    """What the network is shown of them is the left half of one and the right half of the other."""
    some = shapes(16)
    sampling = PairSampling(pairs=16, alike=8, rounds=1, redrawing=AS_IT_IS, symmetries=1, joined=1.0)
    task = MatcherTask(model=Matcher(TINY), pictures=some, held_out=some, sampling=sampling)
    chosen = choose_pairs(some, sampling, np.random.default_rng((0, 0)))
    ((redrawn, _),) = task.batches(0)
    left, right = (torch.from_numpy(some.pictures[at.T.reshape(-1)]) for at in (chosen.pictures, chosen.beside))
    assert torch.equal(redrawn, side_by_side(left, right))


def test_a_product_with_one_picture_is_paired_with_itself():
    """A single drawing still makes a pair, redrawn twice."""
    some = shapes(8, drawings=1, photos=0)
    chosen = choose_pairs(some, PairSampling(pairs=8, rounds=1), np.random.default_rng(0))
    assert (chosen.pictures[:, 0] == chosen.pictures[:, 1]).all()


def test_the_loss_is_least_when_partners_are_near_and_all_others_far():
    """Less than for noise, and least of all the pairings for the right one."""
    logit = torch.full((6, 6), -8.0)
    logit[torch.arange(6), torch.arange(6).roll(3)] = 8.0
    assert pairs_loss(logit) < 0.01
    assert pairs_loss(torch.zeros(6, 6)) == pytest.approx(np.log(5) + np.log(2), abs=1e-4)
    assert pairs_loss(logit.roll(1, 0)) > 10


def test_a_picture_is_not_its_own_rival():
    """Its own similarity, always the highest, counts for nothing."""
    logit = torch.zeros(6, 6)
    assert pairs_loss(logit + 50 * torch.eye(6)) == pairs_loss(logit)


def lessons_for(single: bool) -> Sampling:
    return SinglePairs(pairs=32, per_epoch=96) if single else PairSampling(pairs=16, alike=8, rounds=4)


@pytest.mark.slow  # how far a few epochs lead differs between machines
@pytest.mark.parametrize("single", [False, True], ids=["rounds", "single pairs"])
def test_a_few_seconds_of_training_match_products_never_seen(tmp_path: Path, single: bool):
    """The matcher really learns: of held-out products it tells far more pairs rightly than before."""
    train, held_out = shapes(96, seed=1), shapes(32, seed=2)
    torch.manual_seed(0)
    task = MatcherTask(model=Matcher(TINY), pictures=train, held_out=held_out, sampling=lessons_for(single))
    before = task.check(task.model.eval())
    how = TrainConfig(epochs=40 if single else 4, rate=5e-3, average=0.9, check_every=100, bf16=False)
    fit(task, tmp_path, how, describe={})
    last = json.loads((tmp_path / "progress.jsonl").read_text().splitlines()[-1])
    assert last["error"] < before["error"] / 2
    assert last["error_alike"] < before["error_alike"] / 2


def test_the_published_loss_is_cross_entropy_of_the_bare_cosine():
    """Between -log sigmoid(1) and -log sigmoid(-1), for the batch as for the test pairs."""
    task = MatcherTask(
        model=Matcher(TINY_SOURCE),
        pictures=shapes(8, size=105),
        held_out=shapes(8),
        sampling=SinglePairs(pairs=4),
    )
    vectors = iter([torch.tensor([[1.0, 0], [1, 0], [1, 0], [0.6, 0.8]])])
    task.model.forward = lambda _: next(vectors)
    loss = task.loss((torch.empty(0), torch.tensor([1.0, 0.0])))
    expected = (-np.log(1 / (1 + np.exp(-1.0))) - np.log(1 - 1 / (1 + np.exp(-0.6)))) / 2
    assert float(loss) == pytest.approx(expected)
    pairs = Pairs(same=np.array([1.0], np.float32), different=np.array([0.6], np.float32))
    assert single_loss(pairs) == pytest.approx(expected)


def test_the_published_schedule_is_the_sources():
    """200 epochs of 90,000 + 90,000 pairs in batches of 128, stopped from epoch 150 on by the test loss."""
    assert (AS_PUBLISHED.epochs, AS_PUBLISHED.stop_from, AS_PUBLISHED.keep_lowest) == (200, 150, "test_loss")
    assert (SinglePairs().pairs, SinglePairs().per_epoch) == (128, 180_000)
    some, held_out = shapes(8, size=105), shapes(8, size=105, seed=3)
    task = MatcherTask(
        model=Matcher(TINY_SOURCE),
        pictures=some,
        held_out=held_out,
        sampling=SinglePairs(pairs=8, per_epoch=35),
    )
    batches = task.batches(0)
    assert len(batches) == 4
    pictures, same = next(iter(batches))
    assert (pictures.shape, same.mean()) == ((16, 1, 105, 105), 0.5)
    assert 0.3 < task.check(task.model.eval())["test_loss"] < 1.4


def test_training_in_a_folder_can_go_on(tmp_path: Path):
    """A run that ended early and went on has the weights of one that was never interrupted."""
    some, held_out = shapes(16), shapes(16, seed=3)
    common = {"network": TINY, "sampling": PairSampling(pairs=8, rounds=1)}
    for folder, ends in (("whole", (2,)), ("parted", (1, 2))):
        for end in ends:
            how = TrainConfig(epochs=end, warm_up=0, cool_down=0, bf16=False)
            train_matcher(some, held_out, tmp_path / folder, training=how, **common)
    whole, parted = (load(tmp_path / folder / CHECKPOINT)["weights"] for folder in ("whole", "parted"))
    assert all(torch.equal(whole[name], parted[name]) for name in whole)
    model = load_trained(tmp_path / "whole" / CHECKPOINT).network
    assert model.config == TINY
    assert embed_with(model)(some.pictures).shape == (32, 16)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # the exporter's own
@pytest.mark.parametrize("config", [TINY, TINY_LETTERS], ids=["residual", "letters"])
def test_a_trained_matcher_needs_no_more_than_its_onnx_graph(tmp_path: Path, config: MatcherConfig):
    """The exported branch gives the vectors that the network gives, and so the same decisions."""
    onnxruntime = pytest.importorskip("onnxruntime")
    some = shapes(8)
    model = Matcher(config).eval()
    torch.onnx.export(
        model, (torch.zeros(1, 1, 33, 33, dtype=torch.uint8),), tmp_path / "branch.onnx",
        input_names=["image"], output_names=["embedding"], opset_version=20, dynamo=True,
        external_data=False, verbose=False,
    )  # fmt: skip
    session = onnxruntime.InferenceSession(str(tmp_path / "branch.onnx"), providers=["CPUExecutionProvider"])
    asked = np.concatenate([session.run(None, {"image": picture[None]})[0] for picture in some.pictures])
    np.testing.assert_allclose(asked, embed_with(model)(some.pictures), atol=1e-5)


def test_partners_are_laid_alike_and_drawn_apart():
    """Both pictures of a pair are mirrored or neither; each is drawn by its own hand."""
    some = shapes(8)
    sampling = PairSampling(pairs=8, alike=1, rounds=1, redrawing=AS_IT_IS, symmetries=2)
    task = MatcherTask(model=Matcher(TINY), pictures=some, held_out=some, sampling=sampling)
    chosen = choose_pairs(some, sampling, np.random.default_rng((0, 0)))
    ((redrawn, same),) = task.batches(0)
    originals = torch.from_numpy(some.pictures[chosen.pictures.T.reshape(-1)])
    mirrored = (redrawn == originals.flip(3)).all(dim=3).all(dim=2).all(dim=1)
    kept = (redrawn == originals).all(dim=3).all(dim=2).all(dim=1)
    assert (mirrored ^ kept).all()
    assert torch.equal(mirrored[:8], mirrored[8:])
    assert 0 < mirrored.sum() < 16
    assert same.tolist() == [1] * 8


def test_an_epochs_batches_are_the_same_each_time():
    """Asked for again, an epoch shows what it showed; another one shows something else."""
    some = shapes(16)
    task = MatcherTask(
        model=Matcher(TINY), pictures=some, held_out=some, sampling=PairSampling(pairs=8, rounds=1)
    )
    first, again, other = (torch.cat([batch for batch, _ in task.batches(epoch)]) for epoch in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
