"""How large the sums of an INT8 graph can become, from its weights, against what every processor can hold.

A processor without dot products of bytes (VNNI, Arm's DOT) multiplies an activation of 8 bits without sign by a
weight of 8 bits with sign, adds two such products up in 16 bits, and saturates there without a word. Signed
activations are moved up by 128 first. So the worst pair of a filter is 255 times its two largest weights of one
sign. With weights of 7 bits, -64 to 64, that is 32640, which fits. The sum over a whole filter has 32 bits.
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
    """An INT8 graph whose sums a processor cannot hold; names the layer and says what to do."""


@dataclass(frozen=True, kw_only=True)
class WorstSums:
    """The largest magnitude that a layer's sums can have, whatever the picture."""

    pair: int  # of two products
    filter: int  # of all products of one output channel


def worst_sums(path: Path) -> dict[str, WorstSums]:
    """The worst sums of every layer of a graph whose weights are stored in INT8, by the name of the weights.

    Weights are `(N, K, ...)`: N filters. Of a matrix `(N, K)`, which may be used either way round, the worse.
    Read by OpenVINO, which is there on every machine that packs.
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
    """Raise an EdgeError if an INT8 graph has a layer whose sums could overflow on some processor."""
    for name, sums in worst_sums(path).items():
        for held, found, bits in ((PAIR_HOLDS, sums.pair, 16), (FILTER_HOLDS, sums.filter, 32)):
            if found > held:
                raise SumsOverflow(
                    f"{path}: the sums of {name} reach {found}, and a processor without VNNI holds {held} in "
                    f"{bits} bits: it would judge otherwise than others do, without a word; export the "
                    "checkpoint anew, with weights of 7 bits"
                )


def _worst(filters: npt.NDArray[np.int64]) -> WorstSums:
    """Of filters `(N, K)`: activations are 0 where a weight of the other sign would make a sum smaller."""
    up, down = np.maximum(filters, 0), np.maximum(-filters, 0)
    two = (np.sort(signed, axis=1)[:, -2:].sum(axis=1).max() for signed in (up, down))
    whole = (signed.sum(axis=1).max() for signed in (up, down))
    return WorstSums(pair=LARGEST_ACTIVATION * int(max(two)), filter=LARGEST_ACTIVATION * int(max(whole)))
