"""Computes an INT8 graph exactly as written, with no saturating sum, to compare engines with.

ONNX Runtime without any optimisation and without its kernels for bytes: every QuantizeLinear rounds, and what
lies between is float32, in which products and sums of INT8 are exact to a part in a million. It is slow.
"""

from __future__ import annotations

from typing import Any

from edge.bundle import Model
from edge.engines.onnxruntime import OnnxRuntime
from edge.manifest import Precision


class Exact(OnnxRuntime):
    """One lane, all cores."""

    name = "exact integers"

    def __init__(self, bundle: Model, precision: Precision) -> None:
        super().__init__(bundle, precision, lanes=1, threads=0)

    def _options(self) -> Any:
        from onnxruntime import GraphOptimizationLevel

        options = super()._options()
        options.graph_optimization_level = GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        return options
