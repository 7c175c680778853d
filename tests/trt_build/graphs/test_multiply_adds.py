"""Multiply-adds are counted by the type in which a GPU computes them, for one picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from edge.bundle import Bundle
from edge.errors import BundleError
from trt_build.graphs.multiply_adds import multiply_adds, shares

#: A picture has 4 channels of 8x8 pixels.
_HEAD = '<ir_version: 10, opset_import: ["" : 20]> g (float[batch,4,8,8] image) => (float map)'


def write(folder: Path, body: str, **constants: Any) -> Path:
    """A graph with these nodes and constants."""
    model = parser.parse_model(f"{_HEAD} {{ {body} }}")
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()
    )
    model.graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(model, folder / "g.onnx")
    return folder / "g.onnx"


def weights(*shape: int) -> Any:
    return np.ones(shape, np.float32)


@pytest.mark.parametrize(
    ("body", "shape", "expected"),
    [
        ("map = Conv(image, w)", (2, 4, 3, 3), 6 * 6 * 2 * 4 * 9),
        ("map = Conv<group = 4, pads = [1, 1, 1, 1]>(image, w)", (4, 1, 3, 3), 8 * 8 * 4 * 9),
        ("map = Conv<strides = [2, 2], pads = [1, 1, 1, 1]>(image, w)", (2, 4, 3, 3), 4 * 4 * 2 * 4 * 9),
        ("map = ConvTranspose<strides = [2, 2]>(image, w)", (4, 2, 2, 2), 4 * 8 * 8 * 2 * 4),
        ("map = MatMul(image, w)", (8, 3), 4 * 8 * 3 * 8),
        ("flat = Flatten(image) map = Gemm<transB = 1>(flat, w)", (5, 256), 5 * 256),
        ("flat = Flatten(image) map = Gemm<transA = 1>(flat, w)", (1, 5), 256 * 5),
        ("map = Relu(image)", (1,), 0),
    ],
    ids=["convolution", "depthwise", "stride", "transposed", "product", "dense", "turned", "none"],
)
def test_they_are_those_of_one_picture(
    tmp_path: Path, body: str, shape: tuple[int, ...], expected: int
) -> None:
    """Each output value takes one for each number that it sums; the batch, which is free, counts as one."""
    found = multiply_adds(write(tmp_path, body, w=weights(*shape)))
    assert found == {"FP32": expected, "FP16": 0, "INT8": 0, "FP8": 0}


def test_each_node_counts_in_the_type_of_its_result(tmp_path: Path) -> None:
    """Of two convolutions one is FP16."""
    body = "half = Cast<to = 10>(image) mid = Conv(half, w) wide = Cast<to = 1>(mid) map = Conv(wide, v)"
    path = write(tmp_path, body, w=weights(2, 4, 1, 1).astype(np.float16), v=weights(3, 2, 1, 1))
    assert multiply_adds(path) == {"FP32": 64 * 3 * 2, "FP16": 64 * 2 * 4, "INT8": 0, "FP8": 0}


@pytest.mark.parametrize(
    ("then", "kind"),
    [("back = Cast<to = 10>(sums) map = Cast<to = 1>(back)", "FP16"), ("map = Relu(sums)", "FP32")],
    ids=["cast back", "not cast back"],
)
def test_a_product_of_halves_that_is_summed_in_fp32_is_fp16(tmp_path: Path, then: str, kind: str) -> None:
    """TensorRT joins the casts with the product; without a cast of the result it computes in FP32."""
    body = (
        "half = Cast<to = 10>(image) one = Cast<to = 1>(half) two = Cast<to = 1>(w) "
        f"sums = MatMul(one, two) {then}"
    )
    found = multiply_adds(write(tmp_path, body, w=weights(8, 3).astype(np.float16)))
    assert {kind for kind, count in found.items() if count} == {kind}


@pytest.mark.parametrize("both", [True, False])
def test_only_what_multiplies_two_rounded_factors_is_int8(tmp_path: Path, both: bool) -> None:
    """A convolution whose weights are rounded, but not its input, is computed in float."""
    body = (
        "near = DequantizeLinear(w, s, z) levels = QuantizeLinear(image, s, z) "
        f"again = DequantizeLinear(levels, s, z) map = Conv({'again' if both else 'image'}, near)"
    )
    path = write(tmp_path, body, w=np.ones((2, 4, 1, 1), np.int8), s=np.float32(0.1), z=np.int8(0))
    found = multiply_adds(path)
    assert {kind for kind, count in found.items() if count} == {"INT8" if both else "FP32"}
    assert sum(found.values()) == 64 * 2 * 4


def test_what_cannot_be_told_is_an_error(tmp_path: Path) -> None:
    """A shape that is known at run time only is named, and not counted as nothing."""
    body = "where = NonZero(image) numbers = Cast<to = 1>(where) map = MatMul(numbers, w)"
    with pytest.raises(BundleError, match=r"g\.onnx: node .* \(MatMul\): ONNX cannot infer a type or shape"):
        multiply_adds(write(tmp_path, body, w=weights(9, 2)))


def test_shares_are_in_per_cent() -> None:
    """Of a graph that multiplies nothing, nothing has a share."""
    assert shares({"FP32": 1, "INT8": 3}) == {"FP32": 25, "INT8": 75}
    assert shares({"FP32": 0}) == {"FP32": 0}


def test_every_precision_of_a_model_does_the_same_work(network: Callable[[str], Bundle]) -> None:
    """Each mostly in the type that it is named after."""
    bundle = network("matcher")
    found = {one.precision: multiply_adds(bundle.folder / one.path) for one in bundle.manifest.artifacts}
    assert len({sum(counts.values()) for counts in found.values()}) == 1
    most = {precision: max(counts, key=counts.__getitem__) for precision, counts in found.items()}
    assert most == {"fp32": "FP32", "fp16": "FP16", "int8": "INT8", "int8_fp16": "INT8", "fp8": "FP8"}
