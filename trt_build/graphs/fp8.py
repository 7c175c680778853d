"""Quantises the convolutions of a draft's FP16 graphs to FP8.

Only convolutions are taken whose numbers of input and output channels are multiples of 16, as FP8 multipliers
require. FP8 (E4M3) has three mantissa bits at any magnitude. One scale per tensor is therefore enough for
weights, but large values are less exact than in INT8: too coarse for models that give all features the same
variance (image AUROC of STPM on MVTec's pill: 97.1 in FP32, 96.9 in INT8, 74.7 in FP8). So `trt-build export`
makes FP8 only on request. `docs/decisions/fp8-by-hand.md` says why ModelOpt does not make the FP8 graphs.
"""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from trt_build.graphs.qdq import Rounding, add_rounded

#: Largest number in E4M3.
LARGEST = 448.0
#: Channels in a block.
BLOCK = 16
#: Smallest normal number in FP16.
LEAST_SCALE = 2.0**-14


def add_fp8(draft: Path) -> None:
    """Add every graph in FP8 to a draft. Raise BundleError if the draft lacks graphs in FP16 or INT8."""
    add_rounded(draft, FP8)


def _in_blocks(weight: tuple[int, ...]) -> bool:
    """Return whether weights of this shape have whole blocks of input channels and of output channels."""
    return not (weight[0] % BLOCK or weight[1] % BLOCK)


def _to_bytes(values: NDArray[np.float32]) -> bytes:
    return values.astype(ml_dtypes.float8_e4m3fn).tobytes()


FP8 = Rounding(
    precision="fp8",
    type=TensorProto.FLOAT8E4M3FN,
    largest=LARGEST,
    least_scale=LEAST_SCALE,
    per_channel=False,
    fits=_in_blocks,
    to_bytes=_to_bytes,
)
