"""What trainings of students learn, and what they leave alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")

from discs import discs  # noqa: E402

from trt_build.backbones.open import BackboneError  # noqa: E402
from trt_build.data.parts import pictures, read_parts, split_good  # noqa: E402
from trt_build.figures.ranking import image_auroc  # noqa: E402
from trt_build.methods.checkpoint import CHECKPOINT, PROGRESS, load  # noqa: E402
from trt_build.methods.good_parts.maps import MapScale  # noqa: E402
from trt_build.methods.loop import TrainConfig  # noqa: E402
from trt_build.methods.stpm import train as module  # noqa: E402
from trt_build.methods.stpm.network import STPM, STPMConfig  # noqa: E402
from trt_build.methods.stpm.train import AS_PUBLISHED, train_stpm  # noqa: E402
from trt_build.methods.trained import load_trained  # noqa: E402

SMALL = {
    "teacher": "mobilenet_v2",
    "height": 64,
    "width": 64,
    "stem": 8,
    "widths": (8, 12, 16),
    "second_widths": (8, 12, 16),
}
ONE, TWO = STPMConfig(**SMALL), STPMConfig(**SMALL, second="mobilenet_v1")
#: A teacher with batch norms, which its twin needs.
TWINS = STPMConfig(teacher="efficientnet_lite0", height=64, width=64, as_published=True)
both = pytest.mark.parametrize("config", [ONE, TWO], ids=["stpm", "two pairs"])


def quick(epochs: int) -> TrainConfig:
    return TrainConfig(epochs=epochs, rate=3e-3, average=0.8, check_every=epochs, bf16=False)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load(folder / CHECKPOINT)["weights"]


def network(folder: Path) -> STPM:
    return load_trained(folder / CHECKPOINT).network


def lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / PROGRESS).read_text().splitlines()]


@pytest.mark.slow  # how well chance teachers teach differs between machines
@pytest.mark.parametrize(
    ("config", "training"),
    [
        (ONE, quick(24)),
        (TWO, quick(24)),
        (TWINS, replace(AS_PUBLISHED, epochs=16)),
        (replace(TWINS, second="efficientnet_lite1", second_widths=None), replace(AS_PUBLISHED, epochs=16)),
    ],
    ids=["stpm", "two pairs", "as published", "two pairs as published"],
)
def test_students_tell_bad_parts_from_good(
    disc_folder: Path, tmp_path: Path, config: STPMConfig, training: TrainConfig
) -> None:
    """After some seconds of training on good parts alone, a scratch scores higher and shows where it is."""
    train_stpm(disc_folder, tmp_path, network=config, training=training)
    model = load_trained(tmp_path / CHECKPOINT).network
    with torch.inference_mode():
        good, bad = model(discs(12, 5))[0].numpy(), model(discs(12, 6, bad=True))[0].numpy()
        score, map_ = model(discs(2, 7))
    assert image_auroc(good, bad) > 0.9
    assert score.shape == (2,)
    assert map_.shape == (2, 1, 16, 16)
    assert torch.isfinite(map_).all()


def test_a_stopped_training_goes_on(disc_folder: Path, tmp_path: Path) -> None:
    """Two epochs and then two more end with the weights of four at once."""
    for name, parts in (("whole", (4,)), ("stopped", (2, 4))):
        for epochs in parts:
            training = TrainConfig(epochs=epochs, warm_up=0, cool_down=0, check_every=4, bf16=False)
            train_stpm(disc_folder, tmp_path / name, network=ONE, training=training)
    whole, stopped = (load(tmp_path / name / CHECKPOINT)["weights"] for name in ("whole", "stopped"))
    assert all(torch.equal(whole[key], stopped[key]) for key in whole if key.startswith("student"))


def test_teachers_are_not_trained(disc_folder: Path, tmp_path: Path) -> None:
    """The weights that were opened are those that judge."""
    train_stpm(disc_folder, tmp_path, network=TWO, training=quick(1))
    model = load_trained(tmp_path / CHECKPOINT).network
    opened = module.open_backbone("mobilenet_v1").state_dict()
    assert all(torch.equal(opened[key], value) for key, value in model.teachers[1].state_dict().items())


def test_a_second_pair_leaves_the_first_as_it_is(disc_folder: Path, tmp_path: Path) -> None:
    """Bit for bit: the first student and its scale are those of a training without a second pair.

    The gradients are shortened in each step, so the pairs would disturb each other if they shared the bound.
    """
    for name, config in (("one", ONE), ("two", TWO)):
        train_stpm(disc_folder, tmp_path / name, network=config, training=replace(quick(2), clip=1e-3))
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for key in one:
        if key.startswith(("student", "combine")):
            assert torch.equal(one[key], two[key.replace("combine", "combine.first")]), key


def test_progress_tells_how_much_a_second_pair_counts(disc_folder: Path, tmp_path: Path) -> None:
    """The weight in the last line is the one that the model judges with."""
    train_stpm(disc_folder, tmp_path, network=TWO, training=quick(1))
    assert lines(tmp_path)[-1]["second_weight"] == float(network(tmp_path).combine.weight)


@both
def test_wherever_a_training_stops_the_scale_is_right(
    disc_folder: Path, tmp_path: Path, config: STPMConfig
) -> None:
    """After each epoch, the scale is that of held-out good parts, nine of ten of whose cells lie under 0."""
    held_out = pictures(split_good(read_parts(disc_folder).train).validation, config.spec)
    for epochs in (1, 2, 3):
        train_stpm(disc_folder, tmp_path, network=config, training=replace(quick(3), epochs=epochs))
        model = network(tmp_path)
        with torch.inference_mode():
            maps = model.distances(model.look(torch.from_numpy(held_out)))
        scales = [model.combine] if config is ONE else [model.combine.first, model.combine.second]
        for scale, of_pair in zip(scales, (maps[:3], maps[3:]), strict=False):
            anew = MapScale(3)
            anew.fit([of_pair])
            assert torch.allclose(scale.low, anew.low, rtol=0.02)
            assert torch.allclose(scale.high, anew.high, rtol=0.02)


def test_as_published_keeps_the_best_epoch(disc_folder: Path, tmp_path: Path) -> None:
    """The checkpoint has the weights of the epoch with the lowest product of distances, also after a stop."""
    training = replace(AS_PUBLISHED, epochs=3, rate=0.1)
    train_stpm(disc_folder, tmp_path, network=TWINS, training=replace(training, epochs=2))
    train_stpm(disc_folder, tmp_path, network=TWINS, training=training)
    lowest = min(line["product"] for line in lines(tmp_path))
    held_out = pictures(split_good(read_parts(disc_folder).train).validation, TWINS.spec)
    with torch.inference_mode():
        map_ = network(tmp_path)(torch.from_numpy(held_out))[1].double()
    assert float((map_**3).mean() ** (1 / 3)) == pytest.approx(lowest, abs=1e-4)


def test_as_published_a_later_epoch_that_is_worse_is_not_kept(
    disc_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the product of distances rises after the first epoch, the checkpoint has the first epoch's weights."""
    train_stpm(disc_folder, tmp_path / "one", network=TWINS, training=replace(AS_PUBLISHED, epochs=1))
    rising = iter(range(3))
    monkeypatch.setattr(module.STPMTask, "check", lambda task, model: {"product": float(next(rising))})
    train_stpm(disc_folder, tmp_path / "three", network=TWINS, training=replace(AS_PUBLISHED, epochs=3))
    first, kept = (load(tmp_path / name / CHECKPOINT)["weights"] for name in ("one", "three"))
    assert first.keys() == kept.keys()
    assert all(torch.equal(first[name], kept[name]) for name in first)


def test_another_size_than_a_square_is_trained_and_judged(disc_folder: Path, tmp_path: Path) -> None:
    """96 pixels wide and 64 high: the map has the same proportions."""
    config = replace(TWO, width=96)
    train_stpm(disc_folder, tmp_path, network=config, training=quick(1), mixed_sizes=True)
    model = network(tmp_path)
    assert (model.config.spec.height, model.config.spec.width) == (64, 96)
    with torch.inference_mode():
        score, map_ = model(discs(2, 0, width=96))
    assert map_.shape == (2, 1, 16, 24)
    assert torch.isfinite(score).all()


def test_a_twin_needs_batch_norms() -> None:
    """A backbone without any is refused, with what to take instead."""
    with pytest.raises(BackboneError, match=r"--as-published: mobilenet_v2 has .* take a ResNet or"):
        STPM(replace(ONE, as_published=True))


def test_a_twin_trains_its_batch_norms_and_its_teacher_does_not() -> None:
    """The student is in training mode, with random weights; the teacher never is."""
    model = STPM(replace(TWINS, second="efficientnet_lite1", second_widths=None)).train()
    norm = model.student.copy.network._blocks[0]._bn1
    frozen = model.teachers[0].network._blocks[0]._bn1
    before = norm.running_mean.clone(), frozen.running_mean.clone()
    model.loss(model.look(discs(2, 0))).backward()
    assert not torch.equal(norm.running_mean, before[0])
    assert torch.equal(frozen.running_mean, before[1])
    assert all(parameter.grad is not None for parameter in model.student.copy.network._blocks[0].parameters())
    assert all(parameter.grad is None for parameter in model.teachers.parameters())
    assert all(parameter.grad is not None for parameter in model.restorer.parameters())
