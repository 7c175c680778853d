"""Times a draft's FP32 graph against anomalib's STFPM with ResNet-18, both by OpenVINO and in turns.

First export theirs, where `anomalib[openvino]` is installed, such as in a virtual environment of its own; then
time both. Their network has random weights, which take the same time as trained ones. Both graphs start with a
picture and end with a score and a map. Both get 256x256 pixels, two threads and one picture at a time. `time`
ends with one line of JSON, in which `ratio` is their median time over ours.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

SIDE = 256
WARM_UP, TIMED = 20, 200


def export(folder: Path) -> None:
    """Write anomalib's STFPM with random weights as `model.xml` into the folder."""
    import anomalib
    import timm
    from anomalib.models import Stfpm

    # Without a network there are no trained weights to download.
    create = timm.create_model
    timm.create_model = lambda *names, **how: create(*names, **{**how, "pretrained": False})
    found = Stfpm(backbone="resnet18").to_openvino(folder, input_size=(SIDE, SIDE))
    print(f"anomalib {anomalib.__version__}: {found}")


def compare(draft: Path, theirs: Path) -> dict[str, object]:
    """Time both networks in turns, so that a slow minute slows both."""
    import openvino

    from edge.bundle import read_model
    from edge.engines import processor

    ours = read_model(draft)
    (graph,) = [draft / a.path for a in ours.manifest.artifacts if (a.role, a.precision) == ("judge", "fp32")]
    (xml,) = theirs.rglob("model.xml")
    core = openvino.Core()
    limits = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 2, "INFERENCE_PRECISION_HINT": "f32"}
    noise = np.random.default_rng(0)
    asked = {}
    for name, path in (("ours", graph), ("theirs", xml)):
        model = core.read_model(path)
        model.reshape([1, 3, SIDE, SIDE])
        request = core.compile_model(model, "CPU", limits).create_infer_request()
        picture = noise.integers(0, 256, (1, 3, SIDE, SIDE))
        uint8 = model.inputs[0].element_type == openvino.Type.u8
        asked[name] = (request, picture.astype(np.uint8) if uint8 else (picture / 255).astype(np.float32))
    took: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(WARM_UP + TIMED):
        for name, (request, picture) in asked.items():
            started = time.perf_counter()
            request.infer([picture])
            took[name].append(1000 * (time.perf_counter() - started))
    figures = {
        f"{name}_ms_{which}": round(float(np.percentile(times[WARM_UP:], percent)), 2)
        for name, times in took.items()
        for which, percent in (("p50", 50), ("p99", 99))
    }
    ratio = float(np.median(took["theirs"][WARM_UP:]) / np.median(took["ours"][WARM_UP:]))
    return {
        "cpu": processor.name(),
        "ours": f"{ours.manifest.method} {draft.name}",
        "ratio": round(ratio, 2),
        **figures,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    exporting = commands.add_parser("export", help="export anomalib's STFPM with ResNet-18")
    exporting.add_argument("theirs", type=Path, help="folder to write it to")
    timing = commands.add_parser("time", help="time both, in turns")
    timing.add_argument("draft", type=Path, help="folder of a draft or bundle whose input is 256x256 and RGB")
    timing.add_argument("theirs", type=Path, help="folder that `export` wrote to")
    options = parser.parse_args()
    if options.command == "export":
        export(options.theirs)
    else:
        print(json.dumps(compare(options.draft, options.theirs)))


if __name__ == "__main__":
    main()
