"""Quantises the convolutions of a draft's FP16 graphs to INT8, for GPUs: what is not INT8 is FP16.

The convolutions and the ranges of their inputs are those of the INT8 graphs, so nothing is calibrated again.
The weights have a scale per channel. They use 8 bits, since GPUs add the products in 32 bits; only CPUs need
the 7 bits of the INT8 graphs. `docs/decisions/int8-with-fp16-for-gpus.md` says why there are two INT8 graphs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from trt_build.graphs.qdq import Rounding, add_rounded


def add_int8_fp16(draft: Path) -> None:
    """Add every graph in INT8 with FP16 to a draft. Raise BundleError if it lacks graphs in FP16 or INT8."""
    add_rounded(draft, INT8_FP16)


def _to_bytes(values: NDArray[np.float32]) -> bytes:
    return np.rint(values).astype(np.int8).tobytes()


INT8_FP16 = Rounding(
    precision="int8_fp16",
    type=TensorProto.INT8,
    largest=127.0,
    # Channels with tiny weights are common, and their scales lie below FP16's smallest normal number.
    least_scale=float(np.finfo(np.float16).smallest_subnormal),
    per_channel=True,
    fits=lambda weight: True,
    to_bytes=_to_bytes,
)
