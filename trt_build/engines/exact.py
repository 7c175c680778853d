"""Computes an INT8 graph exactly as it is written, without saturation, as a reference for engines.

Uses ONNX Runtime without any optimisation and without its INT8 kernels. Each QuantizeLinear node rounds, and
all other nodes compute in float32, where products and sums of INT8 are exact to a part in a million. Slow.
"""

from __future__ import annotations

from typing import Any

from edge.bundle import Model
from edge.engines.onnxruntime import OnnxRuntime
from edge.manifest import Precision


class Exact(OnnxRuntime):
    """ONNX Runtime that computes INT8 graphs exactly, on one lane and all cores."""

    name = "exact integers"

    def __init__(self, bundle: Model, precision: Precision) -> None:
        super().__init__(bundle, precision, lanes=1, threads=0)

    def _options(self) -> Any:
        from onnxruntime import GraphOptimizationLevel

        options = super()._options()
        options.graph_optimization_level = GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        return options
