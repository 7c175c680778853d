"""Times a line from its start until it is armed, and an interpreter's start for comparison.

python benchmarks/start.py RECIPE [--rounds 10]
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer


def armed_s(recipe: Path) -> tuple[float, str]:
    """Return the seconds until the line says that it is armed, and what it says of its engines."""
    with tempfile.TemporaryDirectory() as state:
        started = time.monotonic()
        line = subprocess.Popen(
            [sys.executable, "-m", "edge", "run", str(recipe)],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "XDG_STATE_HOME": state},
        )
        assert line.stderr is not None
        said: list[str] = []
        for text in line.stderr:
            said.append(text)
            if "is armed" in text:
                break
        taken = time.monotonic() - started
        line.send_signal(signal.SIGTERM)
        line.stderr.read()
        if line.wait() or not said or "is armed" not in said[-1]:
            raise SystemExit("the line did not start: " + "".join(said))
    return taken, " ".join(
        text.split("engine ")[1].strip() for text in said if ": engine " in text and "lanes" in text
    )


def interpreter_s() -> float:
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.monotonic() - started


def main(
    recipe: Annotated[Path, typer.Argument(help="Recipe of a line whose source does not end.")],
    rounds: Annotated[
        int, typer.Option(min=2, help="Number of times that the line is started and timed.")
    ] = 10,
) -> None:
    """Print one line of JSON: seconds, and their ratio."""
    taken, interpreters, engine = [], [], ""
    for _ in range(rounds):
        seconds, engine = armed_s(recipe)
        taken.append(seconds)
        interpreters.append(interpreter_s())
    p50 = statistics.median(taken)
    print(
        json.dumps(
            {
                "engine": engine,
                "armed_p50_s": round(p50, 3),
                "armed_max_s": round(max(taken), 3),
                "interpreters": round(p50 / statistics.median(interpreters), 1),
            }
        )
    )


if __name__ == "__main__":
    typer.run(main)
