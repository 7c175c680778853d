"""Breaks a line with four cameras at a simulated belt at random, and accounts for each look of each camera.

At each camera a share `--fault` of the triggers is lost, doubled and spurious. `--kills` times at random
moments a process is killed or stopped for a while, or two at once, or the supervisor. Ends with one line of
JSON. Needs `pip install '.[test]'`.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from belt_lines import CAMERAS, belt_recipe
from bundles import KINDS, comparator_manifest
from watched import Watched, kill, stopped

from edge.bundle import write_manifest
from edge.engines.processor import name as processor_name

#: What is done at random, as often as it stands here.
FAULTS = (*["kill"] * 8, *["stop"] * 4, *["pair"] * 3, "supervisor")
console = Console(stderr=True, markup=False, highlight=False)


def do_fault(watched: Watched, fault: str, names: Sequence[str], rng: random.Random) -> None:
    """Do one fault to processes of these names."""
    there = watched.processes()
    targets = rng.sample(names, 2 if fault == "pair" else 1)
    pids = [there[name] for name in (["supervisor"] if fault == "supervisor" else targets) if name in there]
    if fault == "stop" and pids:
        with suppress(ProcessLookupError), stopped(pids[0]):
            time.sleep(rng.uniform(0.02, 1.5))
    else:
        for pid in pids:
            kill(pid)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100, help="number of random faults (default %(default)s)")
    parser.add_argument(
        "--fault", type=float, default=0.01, help="share of lost, doubled and spurious triggers"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the random faults (default %(default)s)")
    given = parser.parse_args()
    rng = random.Random(given.seed)
    done: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as name:
        bundle = Path(name) / "constant"
        bundle.mkdir()
        write_manifest(bundle, comparator_manifest(KINDS, name="constant", method="constant", metadata={}))
        ejector = "[ejector]\nat = 900\nlead_ms = 20"
        recipe = belt_recipe(Path(name), bundle, parts=0, fault=given.fault, more=ejector)
        with Watched(recipe, lambda key, name: None) as watched:
            watched.judged_within_s = 1.0
            watched.await_well()
            names = [each for each in watched.processes() if each != "supervisor"]
            for count in range(1, given.kills + 1):
                time.sleep(rng.uniform(0, 1.5))
                fault = rng.choice(FAULTS)
                do_fault(watched, fault, names, rng)
                done[fault] += 1
                if fault == "supervisor":
                    watched.await_well()
                if count % 20 == 0:
                    console.print(f"{count} faults, {len(watched.captured)} looks, {watched.starts} starts")
            watched.await_well()
            watched.stop()
            found = watched.belt_account(next(iter(CAMERAS)))
            reasons = collections.Counter(str(one.body["reason"]) for one in watched.ear.verdicts)
    figures = {"cpu": processor_name(), "seed": given.seed, "share": given.fault, "faults": dict(done)}
    print(json.dumps({**figures, "starts": watched.starts, **asdict(found), "reasons": dict(reasons)}))
    sys.exit(bool(found.faults))


if __name__ == "__main__":
    main()
