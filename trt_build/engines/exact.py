"""Computes an INT8 graph exactly as it is written, so that engines can be compared with the result.

ONNX Runtime runs without optimisation and without its INT8 kernels, so no sum is too large for its bits. Only
QuantizeLinear nodes round. All other nodes compute in float32, in which products and sums of INT8 are exact to
one millionth. This is slow.
"""

from __future__ import annotations

from typing import Any

from edge.bundle import Model
from edge.engines.onnxruntime import OnnxRuntime
from edge.manifest import Precision


class Exact(OnnxRuntime):
    """An engine that computes INT8 graphs exactly with ONNX Runtime, one part at a time, on all CPU cores."""

    name = "exact integers"

    def __init__(self, bundle: Model, precision: Precision) -> None:
        super().__init__(bundle, precision, lanes=1, threads=0)

    def _options(self) -> Any:
        from onnxruntime import GraphOptimizationLevel

        options = super()._options()
        options.graph_optimization_level = GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        return options
