"""Measures accuracy and speed of a packed comparator on DeepPCB's 500 test pairs.

Speed is measured from pictures in memory to lists of defects, with all lanes of the engine in use and the
features of masters kept, as on a line; reading files and encoding masters are not included. The cut for F is
chosen on pairs that were kept from training, never on test pairs. Ends with one line of JSON, with accuracies
in per cent.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from edge.bundle import Bundle, read_bundle
from edge.engines import open_engine
from edge.engines.base import Engine, Sample
from edge.judges.regions import find_regions
from edge.recipe import EngineChoice
from edge.render.defects import KINDS
from trt_build.data.pairs import Pair, read_pairs, split
from trt_build.figures.boards import FLOOR, as_boxes, choose_cut, draw_worst, figures
from trt_build.figures.boxes import Boxes

WARM_UP = 20
#: Pairs whose masters' features are held at once.
BATCH = 50
BUNDLE = Path(__file__).parent / "bundles" / "deeppcb"


def main() -> None:
    options = _options()
    bundle = read_bundle(options.bundle)
    choice = EngineChoice(
        kind=options.engine, precision=options.precision, threads=options.threads, lanes=options.lanes
    )
    _, held_out = split(read_pairs(options.data / "trainval"))
    test = read_pairs(options.data / "test")[: options.pairs]
    with open_engine(choice, bundle) as engine:
        print(f"{engine.name} {engine.precision}, {len(held_out)} held-out and {len(test)} test pairs")
        _judge_all(engine, bundle, held_out[:WARM_UP])
        kept, _ = _judge_all(engine, bundle, held_out)
        found, pairs_per_s = _judge_all(engine, bundle, test)
    cut = choose_cut(held_out, kept)
    result = figures(test, found, KINDS, cut=cut)
    for name, value in result.items():
        print(f"{name:20} {value:8.3f}")
    if options.worst:
        print(f"{len(draw_worst(test, found, KINDS, options.worst, cut=cut))} pictures in {options.worst}")
    line = {name: round(result[name], 2) for name in ("ap_pooled", "f", "map33", "map50")}
    print(json.dumps(line | {"pairs_per_s": round(pairs_per_s, 1)}))


def _judge_all(engine: Engine, bundle: Bundle, pairs: Sequence[Pair]) -> tuple[list[Boxes], float]:
    """Return the boxes found on each pair, and the pairs judged a second with all lanes in use."""
    spec, stride = bundle.manifest.input, bundle.manifest.stride
    thresholds = dict.fromkeys(KINDS, FLOOR)
    found, took_s = [], 0.0
    for start in range(0, len(pairs), BATCH):
        batch = pairs[start : start + BATCH]
        references = [engine.reference(spec.tensor(pair.master)) for pair in batch]
        images = [spec.tensor(pair.board) for pair in batch]
        started = time.perf_counter()
        for i in range(len(batch) + engine.lanes - 1):
            if i < len(batch):
                engine.submit(i % engine.lanes, [Sample(images[i], references[i])])
            if (done := i - engine.lanes + 1) >= 0:
                outputs = engine.collect(done % engine.lanes)[0]
                maps, extents = outputs["map"][0], outputs["extents"][0]
                regions = find_regions(maps, extents, thresholds=thresholds, stride=stride)
                found.append(as_boxes(regions, KINDS))
        took_s += time.perf_counter() - started
    return found, len(pairs) / took_s


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--bundle", type=Path, default=BUNDLE, help="folder of a packed comparator (default %(default)s)"
    )
    parser.add_argument(
        "--data", type=Path, help="folder with trainval/ and test/ (default: $EDGE_DATA/deeppcb)"
    )
    parser.add_argument(
        "--engine",
        default="auto",
        choices=("auto", "openvino", "onnxruntime"),
        help="engine to judge with; auto: the one that a line would take",
    )
    parser.add_argument(
        "--precision",
        default="auto",
        choices=("auto", "fp32", "int8"),
        help="precision to judge in; auto: the one that a line would take",
    )
    parser.add_argument("--threads", type=int, default=0, help="threads of the engine; 0: one for each core")
    parser.add_argument(
        "--lanes", type=int, default=3, help="boards that the engine judges at once (default %(default)s)"
    )
    parser.add_argument("--pairs", type=int, help="number of test pairs to judge (default: all)")
    parser.add_argument("--worst", type=Path, help="folder for pictures of the worst boards")
    options = parser.parse_args()
    if options.data is None:
        if "EDGE_DATA" not in os.environ:
            sys.exit(
                "deeppcb: the data is not here: give --data, or set EDGE_DATA to the folder that has deeppcb/"
            )
        options.data = Path(os.environ["EDGE_DATA"]) / "deeppcb"
    return options


if __name__ == "__main__":
    main()
