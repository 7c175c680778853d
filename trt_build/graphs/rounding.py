"""Finds the few convolutions whose rounding to INT8 changes the model's outputs most; they stay in float.

Each convolution is rounded by itself, both its input and its weights, while the rest of the graph stays FP32.
The harm of a convolution is the mean square change of the outputs divided by the outputs' variance. Small harms
of many convolutions add up, so the convolutions with the most harm per multiplication are chosen first.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from trt_build.terminal.progress import counted

Floats = npt.NDArray[np.float32]

#: Levels of either sign: 8 bits for activations, 7 bits for weights.
LEVELS, WEIGHT_LEVELS = 127, 63
#: Largest harm of all rounded convolutions together.
HARM = 0.005
#: Largest share of all multiplications that may stay in float for it.
SHARE = 0.15


def harmful(path: Path, shown: Sequence[dict[str, Any]], known: Collection[str]) -> list[str]:
    """Return the names of the convolutions in an FP32 graph whose rounding does the most harm.

    `known` names convolutions that stay in float anyway; they are not returned. `shown` are inputs of the
    graph, by name, on which the harm is measured.
    """
    model = onnx.load(path)
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    sources = _Sources(model, convolutions, shown)
    plain = _answers(model, shown)
    rounded = [node for node in convolutions if node.name not in known and sources.weights(node) is not None]
    harms = {
        node.name: _harm(plain, _answers(sources.with_rounded(node), shown))
        for node in counted(rounded, "rounding each convolution by itself", unit="convolution")
    }
    work = {node.name: sources.multiplications(node) for node in convolutions}
    return chosen(harms, work)


def chosen(harms: dict[str, float], work: dict[str, int]) -> list[str]:
    """Return the names of the convolutions that stay in float, chosen by their `harms` and their `work`.

    `work` has each convolution's number of multiplications. Convolutions are chosen in the order of harm per
    multiplication, highest first, until the harms of the rest sum up to at most HARM. A convolution is skipped
    if choosing it would leave more than SHARE of all multiplications in float.
    """
    left: list[str] = []
    room = SHARE * sum(work.values())
    for name in sorted(harms, key=lambda name: harms[name] / work[name], reverse=True):
        if sum(harm for other, harm in harms.items() if other not in left) <= HARM:
            break
        if sum(work[other] for other in (*left, name)) <= room:
            left.append(name)
    return left


class _Sources:
    """Measures the inputs of each convolution in a model, and rounds one convolution in a copy of the model."""

    def __init__(
        self, model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], shown: Sequence[dict[str, Any]]
    ) -> None:
        self._model = model
        self._weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        told = onnx.ModelProto()
        told.CopyFrom(model)
        names = list(dict.fromkeys(name for node in nodes for name in (node.input[0], node.output[0])))
        given = {one.name for one in (*model.graph.output, *model.graph.input)}
        told.graph.output.extend(
            helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names if name not in given
        )
        session = _session(told)
        self._largest: dict[str, float] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        made = [name for name in names if name not in {put.name for put in model.graph.input}]
        for one in shown:
            for name, value in (one | dict(zip(made, session.run(made, one), strict=True))).items():
                self._largest[name] = max(self._largest.get(name, 0.0), float(np.abs(value).max()))
                self._shapes[name] = value.shape

    def weights(self, node: onnx.NodeProto) -> Floats | None:
        """Return a convolution's weights as `(out, in, ...)` float32. None if the graph computes them."""
        return self._weights.get(node.input[1])

    def multiplications(self, node: onnx.NodeProto) -> int:
        """Return the number of multiplications that a convolution needs for one picture."""
        weights = self.weights(node)
        return 0 if weights is None else weights[0].size * int(np.prod(self._shapes[node.output[0]]))

    def with_rounded(self, node: onnx.NodeProto) -> onnx.ModelProto:
        """Return a copy of the model in which the input and the weights of this convolution are rounded."""
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        weights = self._weights[node.input[1]]
        step = np.abs(weights).max(axis=tuple(range(1, weights.ndim)), keepdims=True) / WEIGHT_LEVELS
        step = np.maximum(step, np.finfo(np.float32).tiny)
        coarse = np.asarray(np.round(weights / step) * step, np.float32)
        scale = np.float32(max(self._largest[node.input[0]], np.finfo(np.float32).tiny) / LEVELS)
        names = [f"{node.name}/{what}" for what in ("weights", "scale", "zero", "levels", "source")]
        model.graph.initializer.extend(
            numpy_helper.from_array(np.asarray(value), name)
            for value, name in zip((coarse, scale, np.int8(0)), names[:3], strict=True)
        )
        at = next(i for i, one in enumerate(model.graph.node) if one.name == node.name)
        if not any(node.input[1] in other.input for other in self._model.graph.node if other.name != node.name):
            (plain,) = (one for one in model.graph.initializer if one.name == node.input[1])
            model.graph.initializer.remove(plain)
        model.graph.node[at].input[0], model.graph.node[at].input[1] = names[4], names[0]
        model.graph.node.insert(at, helper.make_node("DequantizeLinear", [names[3], *names[1:3]], [names[4]]))
        model.graph.node.insert(
            at, helper.make_node("QuantizeLinear", [node.input[0], *names[1:3]], [names[3]])
        )
        return model


def _answers(model: onnx.ModelProto, shown: Sequence[dict[str, Any]]) -> list[Floats]:
    """Return each output as float32. The answers to all inputs in `shown` are joined along the first axis."""
    session = _session(model)
    answers = [session.run(None, one) for one in shown]
    return [np.concatenate(each) for each in zip(*answers, strict=True)]


def _harm(plain: Sequence[Floats], rounded: Sequence[Floats]) -> float:
    """Return how much rounding changes the outputs: mean square difference divided by the output's variance.

    The result is the mean over all outputs, except outputs that have the same value everywhere.
    """
    pairs = [(meant, ours) for meant, ours in zip(plain, rounded, strict=True) if meant.var() > 0]
    found = [float(np.square(ours - meant).mean() / meant.var()) for meant, ours in pairs]
    return float(np.mean(found)) if found else 0.0


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    # Rounded values are to be multiplied in FP32.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
