"""Measures a line whose ports another program on the machine floods, and compares it with a line without flood.

A real line judges 50 parts a second by the constant engine. For each kind of flood (tests/support/floods.py) a
subscriber that connects during the flood counts the judged parts, and another one just before it. The output
has the ratio, the share of a core that publish and the supervisor used, and the growth of publish's memory.
Ends with one line of JSON. Needs `pip install '.[test,bench]'`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import psutil
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from floods import FLOODS, flooding, judged, line_on_ports
from lines import RunningLine

from edge.engines.processor import name as processor_name

SETTLE_S = 0.5
console = Console(stderr=True)


def measure(line: RunningLine, flood: str, publish: int, metrics: int, seconds: float) -> dict[str, float]:
    """Return the figures of one kind of flood."""
    processes = {"publish": psutil.Process(line.pid("publish")), "supervisor": psutil.Process(line.process.pid)}
    alone = judged(publish, seconds)
    with flooding(flood, publish, metrics):
        time.sleep(SETTLE_S)
        busy_s = {name: sum(process.cpu_times()[:2]) for name, process in processes.items()}
        memory = processes["publish"].memory_info().rss
        start_s = time.monotonic()
        among = judged(publish, seconds)
        took_s = time.monotonic() - start_s
        found = {
            f"{name}_cores": round((sum(process.cpu_times()[:2]) - busy_s[name]) / took_s, 3)
            for name, process in processes.items()
        }
        grown = processes["publish"].memory_info().rss - memory
    return {"ratio": round(len(among) / len(alone), 4), **found, "publish_grew_mb": round(grown / 1e6, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="to listen, each time")
    parser.add_argument("--flood", choices=list(FLOODS), action="append", help="only this one; may be repeated")
    chosen = parser.parse_args()
    figures = {}
    with tempfile.TemporaryDirectory() as folder, line_on_ports(Path(folder), fps=50.0) as (line, *ports):
        for flood in chosen.flood or FLOODS:
            figures[flood] = measure(line, flood, ports[0], ports[1], chosen.seconds)
            console.print(f"{flood}: {figures[flood]}", soft_wrap=True)
    print(json.dumps({"cpu": processor_name(), "seconds": chosen.seconds, "floods": figures}))


if __name__ == "__main__":
    main()
