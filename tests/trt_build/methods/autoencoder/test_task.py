"""What trains the autoencoder: the patent's gradients, the centre, what fails a training, and its seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")
pytest.importorskip("safetensors", reason="needs safetensors, which only building models uses")

from trt_build.methods.autoencoder.network import Autoencoder, AutoencoderConfig  # noqa: E402
from trt_build.methods.autoencoder.task import (  # noqa: E402
    MOVING,
    AutoencoderTask,
    Batch,
    CollapseError,
    LossConfig,
)
from trt_build.methods.checkpoint import CHECKPOINT, load  # noqa: E402
from trt_build.methods.loop import TrainConfig, fit  # noqa: E402
from trt_build.methods.trained import load_trained  # noqa: E402

SMALL = AutoencoderConfig(backbone="mobilenet_v2", height=64, width=96, code=4, hidden=16)
ALL = Batch(torch.arange(10), centred=True)


@pytest.fixture
def model() -> Autoencoder:
    torch.manual_seed(0)
    return Autoencoder(SMALL).eval()


@pytest.fixture
def seen(model: Autoencoder) -> torch.Tensor:
    """What might be seen of ten pictures, on the scale of good ones."""
    channels = sum(model.backbone.channels)
    return torch.randn(10, channels, 4, 6, generator=torch.Generator().manual_seed(1))


def task_of(model: Autoencoder, seen: torch.Tensor, **loss_config: object) -> AutoencoderTask:
    """The last three pictures are kept from training."""
    return AutoencoderTask(
        model=model, seen=seen, held_out=seen[7:], loss_config=LossConfig(**loss_config), epochs=24
    )


@pytest.mark.parametrize("jacobian", ["exact", "forward", "reverse", "none"])
def test_one_step_gives_each_half_the_gradients_of_the_patent(
    model: Autoencoder, seen: torch.Tensor, jacobian: str
) -> None:
    """L1 moves the encoder alone, L3 the decoder alone, L2 both; none moves the centre or the backbone."""
    losses = task_of(model, seen, jacobian=jacobian).losses(ALL)

    def moved(loss: torch.Tensor) -> set[str]:
        model.zero_grad(set_to_none=True)
        loss.backward()
        return {
            name.partition(".")[0]
            for name, p in model.named_parameters()
            if p.grad is not None and p.grad.any()
        }

    assert moved(losses.l2) == {"encoder", "decoder"}
    assert moved(task_of(model, seen).losses(ALL).l1) == {"encoder"}
    if jacobian == "none":
        assert not losses.l3.requires_grad
    else:
        assert moved(losses.l3) == {"decoder"}


@pytest.fixture
def exactly() -> Iterator[None]:
    """In 64 bits, so that differences of a small step show."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("exactly")
def test_one_step_is_the_patents_three_to_first_order(model: Autoencoder, seen: torch.Tensor) -> None:
    """Three steps one after another, each on one loss, end where one on the sum does, but for the square."""

    def unlike(rate: float) -> float:
        """How far apart both ends are, as a part of the way."""
        ends = []
        for apart in (False, True):
            stepped = Autoencoder(SMALL).eval()
            stepped.load_state_dict(model.state_dict())
            task = task_of(stepped, seen, jacobian="exact", smoothness=1.0)
            halves = [*stepped.encoder.parameters(), *stepped.decoder.parameters()]
            for which in ("l1", "l2", "l3") if apart else ("sum",):
                loss = task.loss(ALL) if which == "sum" else getattr(task.losses(ALL), which)
                gradients = torch.autograd.grad(loss, halves, allow_unused=True)
                with torch.no_grad():
                    for parameter, gradient in zip(halves, gradients, strict=True):
                        if gradient is not None:
                            parameter -= rate * gradient
            ends.append(torch.cat([parameter.detach().flatten() for parameter in halves]))
        start = torch.cat(
            [p.detach().flatten() for p in (*model.encoder.parameters(), *model.decoder.parameters())]
        )
        return float((ends[1] - ends[0]).norm() / (ends[0] - start).norm())

    assert unlike(1e-4) < 1e-3
    assert unlike(1e-5) == pytest.approx(unlike(1e-4) / 10, rel=0.1)


def test_the_centre_is_the_mean_code_once_there_are_codes(model: Autoencoder, seen: torch.Tensor) -> None:
    """First L2 alone makes codes that tell something; then their mean is where they are drawn to."""
    task = task_of(model, seen)
    for epoch in (0, 2):
        (batch,) = task.batches(epoch)
        losses = task.losses(batch)
        assert (float(losses.l1), float(losses.l3), float(model.centre.abs().max())) == (0, 0, 0)
    (batch,) = task.batches(3)
    assert torch.allclose(model.centre, model.encode(seen).mean(0))
    off_centre = model.encode(seen).detach() - model.centre
    assert task.losses(batch).l1.item() == pytest.approx(float(off_centre.square().mean()))


@pytest.mark.parametrize("centre", ["fixed", "moving"])
def test_a_centre_stays_or_follows_the_codes(model: Autoencoder, seen: torch.Tensor, centre: str) -> None:
    """Fixed where it was put, or a running mean; the losses' gradients never move it."""
    task = task_of(model, seen, centre=centre, alone=0)
    task.batches(0)
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter += 0.1
    before = model.centre.clone()
    task.loss(ALL).backward()
    expected = before if centre == "fixed" else before.lerp(model.encode(seen).mean(0), MOVING)
    assert torch.allclose(model.centre, expected, atol=1e-6)
    assert (centre == "fixed") == torch.equal(model.centre, before)
    assert not model.centre.requires_grad


def test_codes_that_tell_nothing_fail_the_training(model: Autoencoder, seen: torch.Tensor) -> None:
    """Nobody gets a model that scores every part alike."""
    task = task_of(model, seen)
    for parameter in model.encoder.parameters():
        parameter.data.zero_()
    with torch.no_grad(), pytest.raises(CollapseError, match="codes of all pictures are the same"):
        task.check(model)


def test_a_decoder_that_makes_up_for_small_codes_fails_the_training(
    model: Autoencoder, seen: torch.Tensor
) -> None:
    """The free direction that L3 closes is noticed where it is open."""
    task = task_of(model, seen)
    for half, factor in ((model.encoder, 1.0), (model.decoder, 1e4)):
        for name, parameter in half.named_parameters():
            parameter.data *= factor if name.startswith("0.weight") else 1.0
    with torch.no_grad(), pytest.raises(CollapseError, match="raise --smoothness-weight"):
        task.check(model)


def test_a_decoder_that_does_not_listen_fails_the_training(model: Autoencoder, seen: torch.Tensor) -> None:
    """The other end of the same: with too much of L3 every picture is made into one and the same."""
    with torch.no_grad():
        model.decoder[2].weight *= 1e-6
    with torch.no_grad(), pytest.raises(CollapseError, match=r"ignores its codes.*lower --smoothness-weight"):
        task_of(model, seen).check(model)


def test_a_collapse_ends_the_run(model: Autoencoder, seen: torch.Tensor, tmp_path: Path) -> None:
    """What codes that tell nothing were made of is not kept."""
    with torch.no_grad():
        model.encoder[2].weight *= 1e-6
    training = TrainConfig(epochs=1, rate=1e-6, bf16=False)
    with pytest.raises(CollapseError, match=r"codes of all pictures are the same: .*lower --pull"):
        fit(task_of(model, seen), tmp_path, training, describe={})
    assert not (tmp_path / CHECKPOINT).exists()


def test_lambdas_are_those_of_pictures_kept_from_training(
    model: Autoencoder, seen: torch.Tensor, tmp_path: Path
) -> None:
    """Codes and pictures that were trained with lie too near: by others a usual part scores two."""
    task = task_of(model, seen, alone=0)
    task = replace(task, seen=seen[:7])
    describe = {"model": "autoencoder", "config": asdict(SMALL)}
    fit(task, tmp_path, TrainConfig(epochs=3, bf16=False), describe=describe)
    trained = load_trained(tmp_path / CHECKPOINT).network
    with torch.inference_mode():
        kept, known = (trained.judge(pictures)[:2] for pictures in (seen[7:], seen[:7]))
    assert trained.lambdas.tolist() == pytest.approx([1 / float(score.mean()) for score in kept], rel=1e-4)
    assert trained.lambdas.tolist() != pytest.approx([1 / float(score.mean()) for score in known], rel=1e-2)
    assert torch.equal(trained.centre, model.centre)


@pytest.fixture
def trained(tmp_path: Path) -> Callable[..., dict[str, torch.Tensor]]:
    """Trains with a seed, up to some epochs and on from there; the weights."""

    def train(name: str, *, seed: int = 0, epochs: tuple[int, ...] = (4,), centre: str = "fixed") -> object:
        for last in epochs:
            torch.manual_seed(seed)
            model = Autoencoder(SMALL).eval()
            seen = torch.randn(
                10, sum(model.backbone.channels), 4, 6, generator=torch.Generator().manual_seed(1)
            )
            task = replace(task_of(model, seen, alone=0.25, centre=centre, batch=4), seed=seed, epochs=4)
            training = TrainConfig(epochs=last, seed=seed, warm_up=0, cool_down=0, check_every=4, bf16=False)
            fit(task, tmp_path / name, training, describe={})
        weights = load(tmp_path / name / CHECKPOINT)["weights"]
        return {name: value for name, value in weights.items() if not name.startswith("backbone.")}

    return train


@pytest.mark.parametrize("centre", ["fixed", "moving"])
def test_a_training_depends_on_its_seed_alone(
    trained: Callable[..., dict[str, torch.Tensor]], centre: str
) -> None:
    """The same seed gives the same weights, also where the run was stopped; another one gives others."""
    whole = trained("whole", centre=centre)
    for other in (trained("again", centre=centre), trained("stopped", centre=centre, epochs=(2, 4))):
        assert all(torch.equal(value, whole[name]) for name, value in other.items())
    assert not torch.equal(
        trained("other", centre=centre, seed=1)["encoder.0.weight"], whole["encoder.0.weight"]
    )
