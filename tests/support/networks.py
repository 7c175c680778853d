"""Every model of the table, small, untrained and with all it can have, in every precision. Needs torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from edge.bundle import Bundle, read_model
from edge.manifest import Method
from trt_build.data.cases import Case
from trt_build.graphs.fp8 import add_fp8
from trt_build.graphs.fp16 import add_fp16
from trt_build.graphs.fp32 import export
from trt_build.graphs.int8 import add_int8
from trt_build.graphs.int8_fp16 import add_int8_fp16
from trt_build.methods.autoencoder.network import PIXELS, Autoencoder, AutoencoderConfig
from trt_build.methods.comparator.network import Comparator, ComparatorConfig
from trt_build.methods.gaussian.network import Gaussian, GaussianConfig
from trt_build.methods.matcher.network import Matcher, MatcherConfig
from trt_build.methods.pfm.network import PFM, PFMConfig
from trt_build.methods.stpm.network import STPM, STPMConfig
from trt_build.methods.table import method_of

SIDE = 64

_BOARD = ComparatorConfig(kinds=("open", "short"), stem=8, widths=(16, 16, 32, 32), blocks=(0, 1, 0, 0))
_PRODUCT = MatcherConfig(size=40, widths=(16, 32), blocks=(0, 1), embedding=16)
# So wide that the products that centre the ink are as small a share of the work as in the real network.
_LETTER = MatcherConfig(size=40, centred=24, widths=(16, 40), blocks=(0, 1), head="map")
_V1, _V2 = "mobilenet_v1", "mobilenet_v2"  # the shallowest backbones: exported soonest
_GREY = AutoencoderConfig(backbone=_V2, height=SIDE, width=SIDE, in_channels=1, distance="both")
_PIXELS = replace(PIXELS, height=SIDE, width=SIDE, hidden=32, code=16, spectral=True)


def _gaussian() -> nn.Module:
    """Fitted to noise, since distances to an unfitted Gaussian are as large as the features.

    Its first weights keep the variance from layer to layer. With torch's, deep features hardly depend on the
    picture, and whitening them needs numbers that FP16 cannot hold.
    """
    model = Gaussian(GaussianConfig(backbone=_V2, height=SIDE, width=SIDE, rank=4)).eval()
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    with torch.inference_mode():
        seen = model.look(torch.randint(256, (8, 3, SIDE, SIDE), dtype=torch.uint8))
    model.gaussians.fit(seen)
    return model


#: By name, the method and what makes the network.
NETWORKS: dict[str, tuple[Method, Callable[[], nn.Module]]] = {
    "comparator": ("comparator", lambda: Comparator(_BOARD)),
    "matcher": ("matcher", lambda: Matcher(_PRODUCT)),
    "letters": ("matcher", lambda: Matcher(_LETTER)),
    "autoencoder": ("autoencoder", lambda: Autoencoder(_GREY)),
    "pixels": ("autoencoder", lambda: Autoencoder(_PIXELS)),
    "stpm": ("stpm", lambda: STPM(STPMConfig(teacher=_V2, second=_V1, height=SIDE, width=SIDE))),
    "pfm": ("pfm", lambda: PFM(PFMConfig(first=_V2, second=_V1, height=SIDE, width=SIDE, position=True))),
    "gaussian": ("gaussian", _gaussian),
}


def export_network(name: str, folder: Path) -> Bundle:
    """Its draft in every precision; FP16 and INT8 have seen two pictures of noise."""
    method, make = NETWORKS[name]
    torch.manual_seed(0)
    model = make().eval()
    export(model, method_of(method), folder, height=SIDE, width=SIDE)
    spec = read_model(folder).manifest.input
    noise = np.random.default_rng(0).integers(0, 256, (3, *spec.shape), np.uint8)
    shown = [Case(name=str(i), image=noise[i], master=noise[i + 1]) for i in range(2)]
    add_fp16(folder, shown)
    add_int8(folder, shown)
    add_int8_fp16(folder)
    add_fp8(folder)
    return read_model(folder)
