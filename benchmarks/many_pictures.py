"""Measures what a folder of many pictures costs the recorder: the time until it can write, and memory.

Small files with the names of pictures are written, spread over 30 days, one in five that of a passed part. Then
the folder is opened as at the start of a line, its files are counted while the line runs, and as many as are
above a limit are deleted. Memory is the growth of what the process holds. Ends with one line of JSON. Needs
`pip install .`.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

from edge.engines.processor import name as processor_name
from edge.recorder.names import day_of, picture_kind
from edge.recorder.retention import Limits
from edge.recorder.shelf import Shelf

DAYS = 30
DAY_NS = 86_400_000_000_000
NBYTES = 100


def memory_mb() -> float:
    """Return the memory in MB that this process shares with nobody."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def write_files(folder: Path, count: int, now_ns: int) -> None:
    """Write so many files, the oldest first."""
    for number in range(count):
        day = day_of(now_ns - (DAYS - 1 - number * DAYS // count) * DAY_NS)
        end = "reject_defect" if number % 5 else "pass_clean"
        path = folder / day / f"1764540000-{number}_camera_{end}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(NBYTES))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--files", type=int, default=50_000, help="number of pictures to write (default %(default)s)"
    )
    parser.add_argument(
        "--folder", type=Path, help="a folder on the disk to measure (default: a temporary one)"
    )
    given = parser.parse_args()
    now_ns = time.time_ns()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=given.folder) as name:
        folder = Path(name)
        write_files(folder, given.files, now_ns)
        limits = Limits(nbytes=NBYTES * given.files - 1, days=DAYS, sample_days=DAYS)
        before_mb, start = memory_mb(), time.perf_counter()
        with Shelf(folder, limits, 0, picture_kind) as shelf:
            opened = time.perf_counter()
            shelf.tidy(now_ns)
            steps_s = []
            while shelf.is_counting:
                began = time.perf_counter()
                shelf.tidy(now_ns)
                steps_s.append(time.perf_counter() - began)
            ended = time.perf_counter()
            report = {
                "cpu": processor_name(),
                "load": round(os.getloadavg()[0], 1),
                "files": given.files,
                "open_ms": round((opened - start) * 1e3, 2),
                "memory_mb": round(memory_mb() - before_mb, 2),
                "count_s": round(ended - opened, 2),
                "step_max_ms": round(max(steps_s[:-1]) * 1e3, 1),
                "last_step_s": round(steps_s[-1], 2),  # it also deletes
                "deleted": given.files - sum(len(files) for _, _, files in os.walk(folder)),
            }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
