"""Feeds what reads foreign bytes with inputs that coverage-guided fuzzing makes, and reports each fault.

Each target of tests/support/fuzz_targets.py gets `--seconds` in a process of its own, in which the code of
`edge` is instrumented: atheris keeps inputs that reach new branches, and changes them further. An input that
raises anything but the target's own error, hangs or eats memory is a fault; it is written to `--out`. Ends with
one line of JSON. Needs `pip install '.[test,fuzz]'`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

#: An input that takes longer, and memory beyond this, are faults.
MOST_S, MOST_MB, MOST_BYTES = 10, 2048, 20_000
console = Console(stderr=True)


def fuzz(name: str, seconds: int, seed: int, out: Path) -> dict[str, object]:
    """Fuzz one target for so long, in a process of its own. Return how many inputs it ran and what it found."""
    before = set(out.glob(f"{name}-*"))
    with tempfile.TemporaryDirectory() as corpus, tempfile.TemporaryDirectory() as scratch:
        options = [
            f"-max_total_time={seconds}",
            f"-seed={seed}",
            f"-timeout={MOST_S}",
            f"-rss_limit_mb={MOST_MB}",
            f"-max_len={MOST_BYTES}",
            f"-artifact_prefix={out}/{name}-",
            "-print_final_stats=1",
            corpus,
        ]
        command = [sys.executable, __file__, "--one", name, *options]
        environment = {**os.environ, "TMPDIR": scratch}
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=environment)
    inputs = re.findall(r"number_of_executed_units: *(\d+)", done.stderr)
    covered = re.findall(r"cov: (\d+)", done.stderr)
    if done.returncode:
        console.print(done.stderr[-3000:], markup=False)
    return {
        "inputs": int(inputs[-1]) if inputs else 0,
        "branches": int(covered[-1]) if covered else 0,
        "found": sorted(path.name for path in set(out.glob(f"{name}-*")) - before),
        "status": done.returncode,
    }


def run_one(name: str, options: list[str]) -> None:
    """Fuzz one target in this process, which ends with it."""
    import atheris

    with atheris.instrument_imports(include=["edge"]):
        from fuzz_targets import TARGETS
    target = TARGETS[name]
    for seed, data in target.seeds().items():
        (Path(options[-1]) / seed).write_bytes(data)
    os.environ["OPENCV_LOG_LEVEL"] = "OFF"
    atheris.Setup([sys.argv[0], *options], target)
    atheris.Fuzz()


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        run_one(sys.argv[2], sys.argv[3:])
    from fuzz_targets import TARGETS

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--seconds", type=int, default=60, help="time for each target in seconds (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the random inputs (default %(default)s)")
    parser.add_argument("--target", choices=list(TARGETS), action="append", help="only this; may be repeated")
    parser.add_argument(
        "--out", type=Path, default=Path("fuzz-found"), help="folder for inputs that are faults"
    )
    given = parser.parse_args()
    given.out.mkdir(exist_ok=True)
    found = {}
    for name in given.target or TARGETS:
        found[name] = fuzz(name, given.seconds, given.seed, given.out)
        console.print(f"{name}: {found[name]}", markup=False)
    print(json.dumps({"seconds": given.seconds, "seed": given.seed, "targets": found}))
    sys.exit(any(each["status"] for each in found.values()))


if __name__ == "__main__":
    main()
