"""Proves from the weights of an INT8 graph that none of its sums can overflow on any processor.

Some processors have no instruction for dot products of bytes (VNNI on Intel, DOT on Arm). They multiply an
unsigned 8-bit activation by a signed 8-bit weight and add two such products in 16 bits. A sum that is too large
is cut off without an error. Signed activations get 128 added first, so an activation is at most 255. The worst
sum is therefore 255 times the sum of the two largest weights of one sign in a filter. With 7-bit weights, -64
to 64, that sum is 32640, which fits into 16 bits. Sums over whole filters are kept in 32 bits.
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
    """An INT8 graph has a layer whose sums can overflow on some processor. The text names the layer."""


@dataclass(frozen=True, kw_only=True)
class WorstSums:
    """The largest absolute values of sums of products that any picture can cause in one layer."""

    pair: int  # sum of two products
    filter: int  # sum of all products of one output channel


def worst_sums(path: Path) -> dict[str, WorstSums]:
    """Return the largest sums that any picture can cause in each layer with INT8 weights in a graph file.

    The keys are the names of the weights. Weights are `(N, K, ...)` int8 for N filters. A matrix `(N, K)` may
    be used transposed, so the larger sum of both ways counts. OpenVINO reads the file, because every machine
    that packs bundles has OpenVINO.
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
    """Raise SumsOverflow if this INT8 graph has a layer whose sums could overflow on some processor."""
    for name, sums in worst_sums(path).items():
        for held, found, bits in ((PAIR_HOLDS, sums.pair, 16), (FILTER_HOLDS, sums.filter, 32)):
            if found > held:
                raise SumsOverflow(
                    f"{path}: the sums of {name} reach {found}, and a processor without VNNI holds {held} in "
                    f"{bits} bits: it would judge otherwise than others do, without a word; export the "
                    "checkpoint anew, with weights of 7 bits"
                )


def _worst(filters: npt.NDArray[np.int64]) -> WorstSums:
    """Return the largest sums that the filters can give. `filters` holds their weights as `(N, K)` int64.

    A sum is largest if the activations are 255 at all weights of one sign and 0 at all others.
    """
    up, down = np.maximum(filters, 0), np.maximum(-filters, 0)
    two = (np.sort(signed, axis=1)[:, -2:].sum(axis=1).max() for signed in (up, down))
    whole = (signed.sum(axis=1).max() for signed in (up, down))
    return WorstSums(pair=LARGEST_ACTIVATION * int(max(two)), filter=LARGEST_ACTIVATION * int(max(whole)))
