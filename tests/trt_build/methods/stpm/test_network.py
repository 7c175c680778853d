"""Students that learn what their teachers see in good parts, one pair or two."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")
ort = pytest.importorskip("onnxruntime")

from trt_build.backbones.open import build_backbone  # noqa: E402
from trt_build.figures.ranking import image_auroc  # noqa: E402
from trt_build.methods.good_parts.maps import HEIGHT, MapScale  # noqa: E402
from trt_build.methods.good_parts.whitening import Whitening  # noqa: E402
from trt_build.methods.loop import CHECKPOINT, TrainConfig, load  # noqa: E402
from trt_build.methods.stpm import train as module  # noqa: E402
from trt_build.methods.stpm.network import STPM, STPMConfig  # noqa: E402
from trt_build.methods.stpm.train import train_stpm  # noqa: E402
from trt_build.methods.trained import load_trained  # noqa: E402

SMALL = {"teacher": "mobilenet_v2", "height": 64, "width": 64, "stem": 8, "widths": (8, 12, 16)}
ONE, TWO = STPMConfig(**SMALL), STPMConfig(**SMALL, second="mobilenet_v1")
both = pytest.mark.parametrize("config", [ONE, TWO], ids=["stpm", "two pairs"])


def part(rng: np.random.Generator, *, bad: bool = False) -> np.ndarray:
    """A grey disc on a darker ground, `(3, 64, 64)` uint8; a bad one has a bright scratch."""
    picture = np.full((64, 64, 3), 60, np.uint8)
    cv2.circle(picture, (32, 32), 22, (150, 150, 150), -1)
    if bad:
        x, y = (int(v) for v in rng.integers(20, 36, 2))
        cv2.line(picture, (x, y), (x + 14, y + 8), (255, 255, 255), 5)
    noisy = picture.astype(np.int16) + rng.integers(-4, 5, picture.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8).transpose(2, 0, 1)


def images(count: int, seed: int, *, bad: bool = False) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.stack([part(rng, bad=bad) for _ in range(count)]))


@pytest.fixture(autouse=True)
def teachers_of_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Teachers with random weights, the same each time: no file is needed."""

    def opened(name: str) -> torch.nn.Module:
        state = torch.get_rng_state()
        torch.manual_seed(1)
        backbone = build_backbone(name)
        torch.set_rng_state(state)
        return backbone

    monkeypatch.setattr(module, "open_backbone", opened)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """110 good parts in MVTec AD's layout."""
    folder = tmp_path_factory.mktemp("discs") / "train" / "good"
    folder.mkdir(parents=True)
    for i, image in enumerate(images(110, 0).numpy()):
        cv2.imwrite(str(folder / f"{i:03}.png"), np.ascontiguousarray(image.transpose(1, 2, 0)[..., ::-1]))
    return folder.parent.parent


def quick(epochs: int) -> TrainConfig:
    return TrainConfig(epochs=epochs, rate=3e-3, average=0.8, check_every=epochs, bf16=False)


@pytest.mark.slow  # how well chance teachers teach differs between machines
@both
def test_students_tell_bad_parts_from_good(folder: Path, tmp_path: Path, config: STPMConfig) -> None:
    """After some seconds of training on good parts alone, a scratch scores higher and shows where it is."""
    train_stpm(folder, tmp_path, network=config, training=quick(24))
    model = load_trained(tmp_path / CHECKPOINT).network
    with torch.inference_mode():
        good, bad = model(images(12, 5))[0].numpy(), model(images(12, 6, bad=True))[0].numpy()
        score, map_ = model(images(2, 7))
    assert image_auroc(good, bad) > 0.9
    assert score.shape == (2,)
    assert map_.shape == (2, 1, 16, 16)
    assert torch.isfinite(map_).all()


def test_a_stopped_training_goes_on(folder: Path, tmp_path: Path) -> None:
    """Two epochs and then two more end with the weights of four at once."""
    for name, parts in (("whole", (4,)), ("stopped", (2, 4))):
        for epochs in parts:
            training = TrainConfig(epochs=epochs, warm_up=0, cool_down=0, check_every=4, bf16=False)
            train_stpm(folder, tmp_path / name, network=ONE, training=training)
    whole, stopped = (load(tmp_path / name / CHECKPOINT)["weights"] for name in ("whole", "stopped"))
    assert all(torch.equal(whole[key], stopped[key]) for key in whole if key.startswith("student"))


def test_teachers_are_not_trained(folder: Path, tmp_path: Path) -> None:
    """The weights that were opened are those that judge."""
    train_stpm(folder, tmp_path, network=TWO, training=quick(1))
    model = load_trained(tmp_path / CHECKPOINT).network
    opened = module.open_backbone("mobilenet_v1").state_dict()
    assert all(torch.equal(opened[key], value) for key, value in model.teachers[1].state_dict().items())


@both
def test_the_graph_computes_what_the_model_does(tmp_path: Path, config: STPMConfig) -> None:
    """One graph of fixed size, bytes in, score and map out."""
    torch.manual_seed(0)
    model = STPM(config).eval()
    model.fit_features([images(8, 0)])
    model.fit_scale([images(4, 1)])
    image = images(1, 2)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it tells that torchvision is missing
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the exporter's own
        torch.onnx.export(
            model,
            (image,),
            tmp_path / "g.onnx",
            input_names=["image"],
            opset_version=20,
            dynamo=True,
            verbose=False,
        )
    found = ort.InferenceSession(tmp_path / "g.onnx").run(None, {"image": image.numpy()})
    with torch.inference_mode():
        for here, there in zip(found, model(image), strict=True):
            np.testing.assert_allclose(here, there.numpy(), rtol=1e-3, atol=1e-4)


def test_whitened_features_vary_alike_in_all_directions() -> None:
    """A direction that hardly varies counts as much as the strongest."""
    torch.manual_seed(0)
    features = torch.randn(40, 3, 8, 8) * torch.tensor([10.0, 5.0, 3.0]).reshape(1, 3, 1, 1) + 7
    features[:, 1] += features[:, 0]
    whitening = Whitening(3)
    whitening.fit(features.split(10))
    white = whitening(features).transpose(0, 1).flatten(1)
    assert white.mean(1).abs().max() < 1e-3
    np.testing.assert_allclose(torch.cov(white).numpy(), np.eye(3), atol=0.2)


def test_the_scale_is_that_of_good_parts() -> None:
    """Nine cells of ten of good parts lie under 0, and one of two hundred over 0.1, whatever the units."""
    torch.manual_seed(0)
    maps = [torch.rand(20, 1, 32, 32) * 1000]
    scale = MapScale(1, smoothings=0)
    scale.fit([maps])
    score, map_ = scale(maps)
    assert float((map_ < 0).float().mean()) == pytest.approx(0.9, abs=1e-3)
    assert float((map_ > HEIGHT).float().mean()) == pytest.approx(0.005, abs=1e-3)
    highest = map_[0].flatten().sort(descending=True).values[:10]
    assert float(score[0]) == pytest.approx(float(highest.mean()), rel=1e-4)


def test_a_level_that_is_the_same_everywhere_costs_no_score() -> None:
    """Where a student has learned nothing on one level, the part's score is a number all the same."""
    scale = MapScale(2, smoothings=0)
    maps = [torch.rand(20, 1, 32, 32), torch.ones(20, 1, 32, 32)]
    scale.fit([maps])
    assert all(torch.isfinite(output).all() for output in scale(maps))
