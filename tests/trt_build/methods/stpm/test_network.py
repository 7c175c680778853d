"""Students that learn what their teachers see in good parts, one pair or two."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch, which only building models uses")
ort = pytest.importorskip("onnxruntime")

from discs import discs  # noqa: E402

from trt_build.methods.good_parts.maps import HEIGHT, MapScale  # noqa: E402
from trt_build.methods.good_parts.whitening import Whitening  # noqa: E402
from trt_build.methods.stpm.network import STPM, STPMConfig  # noqa: E402

SMALL = {"teacher": "mobilenet_v2", "height": 64, "width": 64, "stem": 8, "widths": (8, 12, 16)}
ONE, TWO = STPMConfig(**SMALL), STPMConfig(**SMALL, second="mobilenet_v1")
both = pytest.mark.parametrize("config", [ONE, TWO], ids=["stpm", "two pairs"])


@both
def test_the_graph_computes_what_the_model_does(tmp_path: Path, config: STPMConfig) -> None:
    """One graph of fixed size, bytes in, score and map out."""
    torch.manual_seed(0)
    model = STPM(config).eval()
    model.fit_features([discs(8, 0)])
    with torch.no_grad():
        model.fit_scale([model.look(discs(4, 1))], [model.look(discs(4, 1, bad=True))])
    image = discs(1, 2)
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
