"""Measures what frozen features and a list of good ones achieve: what a trained model has to beat.

The score of a cell of a test picture is its distance to the nearest of some thousand cells of good pictures; a
picture's score is that of its highest cell. Nothing is trained, and nothing is chosen on test pictures. After
PatchCore (Roth et al., CVPR 2022), with randomly drawn vectors. Ends with one line of JSON, with figures from 0
to 1.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from edge.manifest import InputSpec
from trt_build.backbones.open import Backbone, open_backbone
from trt_build.data.parts import LabelledPart, mask_of, picture, read_parts, split_good
from trt_build.figures.ranking import image_auroc, resize_map, sweep_pixels

SETS = ("mvtec/bottle", "mvtec/pill", "magtile")
#: Sets whose pictures have different sizes.
MIXED = ("magtile",)
SPEC = InputSpec(height=224, width=224, color="rgb")
MASK = (256, 256)


class Probe:
    """Cells of good pictures `(V, D)`, and the distance of a picture's cells to the nearest of them."""

    def __init__(self, backbone: Backbone, good: Sequence[LabelledPart], vectors: int) -> None:
        self._backbone = backbone
        levels = [self._levels(part) for part in good]
        self._scales = [torch.cat([each[i].flatten() for each in levels]).std() for i in range(2)]
        cells = torch.cat([self._cells(each) for each in levels])
        chosen = np.random.default_rng(0).permutation(len(cells))[:vectors]
        self._kept = cells[torch.from_numpy(chosen)]

    def __call__(self, part: LabelledPart) -> npt.NDArray[np.float32]:
        """Return the map `(1, h, w)` at stride 8."""
        levels = self._levels(part)
        near = torch.cdist(self._cells(levels), self._kept).amin(1)
        return near.reshape(1, *levels[0].shape[2:]).numpy()

    def _levels(self, part: LabelledPart) -> tuple[Tensor, Tensor]:
        """Return features at strides 8 and 16, each averaged with its neighbours, at the size of the former."""
        with torch.inference_mode():
            _, eight, sixteen = self._backbone(torch.from_numpy(picture(part, SPEC)))
            eight, sixteen = (F.avg_pool2d(x, 3, 1, 1) for x in (eight, sixteen))
            return eight, F.interpolate(sixteen, size=eight.shape[2:], mode="bilinear")

    def _cells(self, levels: tuple[Tensor, Tensor]) -> Tensor:
        """Return cells `(h * w, D)`, each level divided by its spread on good pictures."""
        together = torch.cat([x / scale for x, scale in zip(levels, self._scales, strict=True)], dim=1)
        return together[0].flatten(1).T


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    backbone = open_backbone(options.backbone)
    line: dict[str, object] = {"backbone": options.backbone}
    for name in options.sets:
        parts = read_parts(options.data / name, mixed_sizes=name in MIXED)
        fit = split_good(parts.train).fit
        good = fit[:: max(1, len(fit) // options.pictures)][: options.pictures]
        probe = Probe(backbone, good, options.vectors)
        maps = [probe(part) for part in parts.test]
        scores = np.array([map_.max() for map_ in maps])
        is_good = np.array([part.is_good for part in parts.test])
        pixels = sweep_pixels([resize_map(m, MASK) for m in maps], [mask_of(part, MASK) for part in parts.test])
        figures = {"image_auroc": image_auroc(scores[is_good], scores[~is_good]), "pixel_auroc": pixels.auroc}
        figures |= {"aupro30": pixels.aupro(0.3), "aupro5": pixels.aupro(0.05)}
        line[Path(name).name] = {key: round(value, 4) for key, value in figures.items()}
        print(f"{name}: {len(good)} good pictures, {len(maps)} test pictures, {line[Path(name).name]}")
    print(json.dumps(line))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with mvtec/ and magtile/ (default: $EDGE_DATA)")
    parser.add_argument("--sets", nargs="+", default=SETS, help="folders of parts in --data to measure on")
    parser.add_argument(
        "--backbone", default="mobilenet_v2", help="pre-trained network to measure (default %(default)s)"
    )
    parser.add_argument(
        "--pictures", type=int, default=60, help="good pictures to take vectors from (default %(default)s)"
    )
    parser.add_argument(
        "--vectors", type=int, default=4000, help="vectors to keep of them (default %(default)s)"
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=torch.get_num_threads(),
        help="threads to compute with (default %(default)s)",
    )
    options = parser.parse_args()
    if options.data is None:
        if "EDGE_DATA" not in os.environ:
            sys.exit("probe: the data is not here: give --data, or set EDGE_DATA to the folder that has mvtec/")
        options.data = Path(os.environ["EDGE_DATA"])
    return options


if __name__ == "__main__":
    main()
