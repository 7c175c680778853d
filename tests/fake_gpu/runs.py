"""Sends parts through the lanes of a bundle, in a process on a machine with the fake GPU."""

from __future__ import annotations

from pathlib import Path

import msgspec
from bundles import KINDS, write_anomaly, write_comparator
from fake_gpu.machine import Machine
from fake_gpu.parts_through_lanes import Report
from fake_gpu.plans import write_engines

COMPARING, JUDGING = "with masters", "without masters"  # bundles of either kind


def run(
    bench: Machine, folder: Path, kind: str = JUDGING, *, batch: int = 1, plan: object = None, **task: object
) -> Report:
    """Send parts through the lanes of a bundle made in `folder`; `plan` changes the plans of its engines."""
    bundle = folder / f"{kind} {batch}"
    if not bundle.exists():
        write_comparator(bundle, KINDS) if kind == COMPARING else write_anomaly(bundle)
        write_engines(bundle, batch=batch, kernels=bool(task.get("frames")), **(plan or {}))
    asked = {"parts": 1000, "lanes": 2, **task}
    said = bench.ask(
        Path(__file__).with_name("parts_through_lanes.py"), str(bundle), msgspec.json.encode(asked).decode()
    )
    return msgspec.convert(said, Report, strict=False)


ORDERS = {"late": {}, "at once": {"FAKE_CUDA_EAGER": 1}, "shuffled": {"FAKE_CUDA_SHUFFLE": 1}}
