"""Runs a graph node by node on the CPU, so that FP16 and FP8 results are rounded as on a GPU.

Usually ONNX Runtime computes an FP16 graph in FP32 on a CPU and leaves out the casts between nodes. Only the
weights are rounded then, so the measured difference from FP32 is too small. Here each node runs in its own
session, so each result is rounded to the type that the graph gives it. A GPU multiplies in FP16 and adds in
FP32, so its results are the same. A GPU that joins several nodes into one rounds less often.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import helper

from edge.bundle import Model
from edge.engines.onnxruntime import OnnxRuntime
from edge.manifest import Precision


class Emulated(OnnxRuntime):
    """An engine that runs on the CPU but rounds as a GPU does; several times slower than `OnnxRuntime`."""

    name = "emulated"

    def __init__(self, bundle: Model, precision: Precision) -> None:
        super().__init__(bundle, precision, lanes=1, threads=1)

    def _session(self, path: Path) -> Any:
        return _Steps(path)


class _Steps:
    """Runs a graph as a chain of ONNX Runtime sessions, one for each node, and is used like one session."""

    def __init__(self, path: Path) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        # Without this limit each of the hundreds of sessions starts threads for all cores.
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        model = onnx.shape_inference.infer_shapes(onnx.load(path))
        graph = model.graph
        constants = {tensor.name: tensor for tensor in graph.initializer}
        types = {value.name: value.type for value in (*graph.input, *graph.value_info, *graph.output)}
        self._steps = []
        for node in graph.node:
            known = [constants[name] for name in {*node.input} & constants.keys()]
            given = [name for name in dict.fromkeys(node.input) if name and name not in constants]
            put, made = (
                [helper.make_value_info(name, types[name]) for name in names] for names in (given, node.output)
            )
            alone = helper.make_model(
                helper.make_graph([node], node.name, put, made, known),
                opset_imports=model.opset_import,
                ir_version=model.ir_version,
            )
            session = ort.InferenceSession(
                alone.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            self._steps.append((session, given, list(node.output)))

    def run(self, outputs: tuple[str, ...], inputs: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Compute the graph for these inputs. Return the outputs with these names, in the graph's types."""
        # numpy has no FP8, so the values between nodes stay in ONNX Runtime's own type.
        from onnxruntime import OrtValue

        values = {name: OrtValue.ortvalue_from_numpy(array) for name, array in inputs.items()}
        for session, given, made in self._steps:
            found = session.run_with_ort_values(made, {name: values[name] for name in given})
            values.update(zip(made, found, strict=True))
        return [values[name].numpy() for name in outputs]
