"""Proves from an INT8 graph's weights that its sums cannot overflow on any processor.

A processor without dot products of bytes (VNNI, Arm's DOT) multiplies an unsigned 8-bit activation by a signed
8-bit weight, adds two of these products in 16 bits, and saturates silently. It adds 128 to signed activations
first. So the worst pair of a filter is 255 times the sum of its two largest weights of one sign. With 7-bit
weights, -64 to 64, that is 32640, which fits. The sum over a whole filter has 32 bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.engines.openvino import load_openvino
from edge.errors import EdgeError

LARGEST_ACTIVATION = 255
PAIR_HOLDS, FILTER_HOLDS = 2**15 - 1, 2**31 - 1


class SumsOverflow(EdgeError, ValueError):
    """An INT8 graph has a layer whose sums can overflow on some processor; the text names the layer."""


@dataclass(frozen=True, kw_only=True)
class WorstSums:
    """The largest magnitude that a layer's sums can reach with any picture."""

    pair: int  # sum of two products
    filter: int  # sum of all products of one output channel


def worst_sums(path: Path) -> dict[str, WorstSums]:
    """Return the worst sums of each layer with INT8 weights in a graph file, by the name of the weights.

    Weights are `(N, K, ...)` int8 for N filters. A matrix `(N, K)` may be used transposed, so the worse of both
    ways counts. OpenVINO reads the file, since every machine that packs has it.
    """
    ov = load_openvino()

    found = {}
    for node in ov.Core().read_model(path).get_ops():
        if node.get_type_name() == "Constant" and node.get_element_type() == ov.Type.i8:
            values = np.array(node.data, np.int64)
            if values.ndim > 1:
                ways = [values, values.T] if values.ndim == 2 else [values.reshape(len(values), -1)]
                sums = [_worst(filters) for filters in ways]
                found[node.get_friendly_name()] = WorstSums(
                    pair=max(one.pair for one in sums), filter=max(one.filter for one in sums)
                )
    return found


def check_sums(path: Path) -> None:
    """Raise SumsOverflow if an INT8 graph has a layer whose sums could overflow on some processor."""
    for name, sums in worst_sums(path).items():
        for held, found, bits in ((PAIR_HOLDS, sums.pair, 16), (FILTER_HOLDS, sums.filter, 32)):
            if found > held:
                raise SumsOverflow(
                    f"{path}: the sums of {name} reach {found}, and a processor without VNNI holds {held} in "
                    f"{bits} bits: it would judge otherwise than others do, without a word; export the "
                    "checkpoint anew, with weights of 7 bits"
                )


def _worst(filters: npt.NDArray[np.int64]) -> WorstSums:
    """Return the worst sums of filters `(N, K)` int64: activations are 0 at all weights of the other sign."""
    up, down = np.maximum(filters, 0), np.maximum(-filters, 0)
    two = (np.sort(signed, axis=1)[:, -2:].sum(axis=1).max() for signed in (up, down))
    whole = (signed.sum(axis=1).max() for signed in (up, down))
    return WorstSums(pair=LARGEST_ACTIVATION * int(max(two)), filter=LARGEST_ACTIVATION * int(max(whole)))
