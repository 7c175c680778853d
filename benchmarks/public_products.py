"""Reads two public data sets into labelled pictures: QMUL's sketches of products, and Omniglot's characters.

In Omniglot a character is the product, its alphabet is the group of products that look alike, and each of 20
people drew it once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from edge.manifest import InputSpec
from trt_build.data.errors import DatasetError
from trt_build.data.products import DRAWING, PHOTO, Pictures, as_inputs, labelled, split_products

_CATEGORIES = ("shoes", "chairs", "handbags")
_OMNIGLOT_SIDE = 105
#: Numbers of the people who drew for training and for validation; 17 to 20 drew for the test.
_TRAINING_DRAWERS, _VALIDATION_DRAWERS = range(1, 13), range(13, 17)


@dataclass(frozen=True, kw_only=True)
class Split:
    """Pictures to train with, to choose thresholds with and to measure on; no product is in two of them."""

    train: Pictures
    validation: Pictures
    test: Pictures


def read_qmul(path: Path, spec: InputSpec, *, held_out: float = 0.12) -> Split:
    """Read QMUL's shoes, chairs and handbags: of each product an edge map of its photo, and a person's sketch.

    The share `held_out` of the training products is for validation; the test products are the publisher's.
    Raises DatasetError for a file that is not QMUL's.
    """
    sides = [(part, group) for part in ("train", "test") for group in range(len(_CATEGORIES))]
    keys = [f"{_CATEGORIES[group]}_{kind}_{part}" for part, group in sides for kind in ("sketch", "edge")]
    arrays = _arrays(path, keys)
    names: list[str] = []
    rows: list[tuple[npt.NDArray[np.uint8], int, int, int]] = []  # picture, product, group, hand
    for part, group in sides:
        sketches, edges = (arrays[f"{_CATEGORIES[group]}_{kind}_{part}"] for kind in ("sketch", "edge"))
        if sketches.shape != edges.shape:
            raise DatasetError(
                f"{path}: {_CATEGORIES[group]}, {part}: expected a sketch for each edge map, "
                f"found {sketches.shape} and {edges.shape}"
            )
        for i, (sketch, edge) in enumerate(zip(sketches, edges, strict=True)):
            rows += [(sketch, len(names), group, DRAWING), (edge, len(names), group, PHOTO)]
            names.append(f"{_CATEGORIES[group]}/{part}/{i:03}")
    everything = labelled(rows, names, spec)
    is_test = np.array(["/test/" in name for name in names])[everything.product]
    train, validation = split_products(everything.where(~is_test), held_out=held_out)
    return Split(train=train, validation=validation, test=everything.where(is_test))


def read_omniglot(path: Path, spec: InputSpec) -> Split:
    """Read Omniglot, split by alphabet (30, 10, 10) and by drawer (12, 4, 4) as Koch et al. (2015) do.

    The 30 background alphabets are for training. Of the 20 evaluation alphabets, sorted by name, every second
    one from the first is for validation, the others are for the test. Drawers 1 to 12 are for training, 13 to
    16 for validation, 17 to 20 for the test. Raises DatasetError for a file that is not Omniglot's.
    """
    keys = [
        f"{s}_{k}" for s in ("background", "evaluation") for k in ("strokes", "alphabet", "character", "drawer")
    ]
    arrays = _arrays(path, keys)
    background, evaluation = (
        _characters(
            {key: arrays[f"{side}_{key}"] for key in ("strokes", "alphabet", "character", "drawer")}, spec
        )
        for side in ("background", "evaluation")
    )
    odd = evaluation.group % 2 == 1
    return Split(
        train=background.where(np.isin(background.hand, _TRAINING_DRAWERS)),
        validation=evaluation.where(~odd & np.isin(evaluation.hand, _VALIDATION_DRAWERS)),
        test=evaluation.where(odd & (evaluation.hand > _VALIDATION_DRAWERS[-1])),
    )


def _characters(side: dict[str, npt.NDArray[Any]], spec: InputSpec) -> Pictures:
    """Return the characters of one side; `strokes` are rows `(N, B)` uint8 with 8 pixels a byte, 1 is ink."""
    pixels = np.unpackbits(side["strokes"], axis=1)[:, : _OMNIGLOT_SIDE**2]
    ink = pixels.reshape(-1, _OMNIGLOT_SIDE, _OMNIGLOT_SIDE)
    alphabets = side["alphabet"].astype(str)
    names, product = np.unique(
        [f"{a}/{c}" for a, c in zip(alphabets, side["character"], strict=True)], return_inverse=True
    )
    return Pictures(
        pictures=as_inputs((255 * (1 - ink)).astype(np.uint8), spec),
        product=product.astype(np.int64),
        group=np.unique(alphabets, return_inverse=True)[1].astype(np.int64),
        hand=side["drawer"].astype(np.int64),
        names=tuple(names.tolist()),
    )


def _arrays(path: Path, keys: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays with these names from an `.npz` file."""
    try:
        with np.load(path) as file:
            return {key: file[key] for key in keys}
    except (OSError, ValueError, BadZipFile) as error:
        raise DatasetError(f"{path}: expected an .npz file, found none that can be read: {error}") from error
    except KeyError as error:
        raise DatasetError(f"{path}: expected the arrays {', '.join(keys)}: {error.args[0]}") from error
