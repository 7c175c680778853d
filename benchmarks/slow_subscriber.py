"""Measures what a subscriber that sleeps costs a line, and whether it gets all verdicts afterwards.

A real line judges 60 parts a second by the constant engine. One subscriber sleeps, and another one comes only
at the end and asks the replay socket for all from the first verdict on. A third one listens all the time. The
output has how many verdicts each of them got and missed, how long each took to catch up, and the growth of the
memory of publish and replay. Ends with one line of JSON. Needs `pip install '.[test,bench]'`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from floods import line_on_ports
from ports import free_port

from edge.engines.processor import name as processor_name
from edge.messages import Verdict
from edge.subscription import Missed, Place, Subscription

FPS = 60.0
#: The constant engine and its line settle before memory is measured.
SETTLE_S = 3.0
console = Console(stderr=True)


class Heard:
    """The numbers of the verdicts that a subscription gave, and what it missed."""

    def __init__(self, subscription: Subscription) -> None:
        self.subscription, self.numbers, self.missed = subscription, list[int](), 0

    def to(self, number: int) -> float:
        """Hear until the verdict `number` has come, and return the seconds that this took."""
        start_s = time.monotonic()
        while not self.numbers or self.numbers[-1] < number:
            event = self.subscription.hear(100)
            if isinstance(event, Missed):
                self.missed += 1 if event.last is None else event.last - event.first + 1
            elif isinstance(message := getattr(event, "message", None), Verdict):
                self.numbers.append(message.number)
        return time.monotonic() - start_s

    def figures(self, took_s: float) -> dict[str, float]:
        in_order = all(
            later == earlier + 1 for earlier, later in zip(self.numbers, self.numbers[1:], strict=False)
        )
        return {
            "got": len(self.numbers),
            "missed": self.missed,
            "in_order": in_order,
            "catch_up_s": round(took_s, 2),
        }


def measure(folder: Path, seconds: float) -> dict[str, object]:
    """Return the figures of a line, one subscriber of which sleeps for this time."""
    replay = f"tcp://127.0.0.1:{free_port()}"
    with line_on_ports(folder, FPS, f'replay = "{replay}"') as (line, port, _):
        endpoint, processes = f"tcp://127.0.0.1:{port}", {}
        with (
            Subscription(endpoint, replay=replay) as slow,
            Subscription(endpoint, replay=replay, after=Place()) as steady,
        ):
            sleeper, listener = Heard(slow), Heard(steady)
            listener.to(round(FPS * SETTLE_S))
            sleeper.to(round(FPS * SETTLE_S))
            for name in ("publish", "replay"):
                processes[name] = psutil.Process(line.pid(name))
            before = {name: process.memory_info().rss for name, process in processes.items()}
            end = round(FPS * (SETTLE_S + seconds))
            thread = threading.Thread(target=listener.to, args=(end,))
            thread.start()
            time.sleep(seconds)
            thread.join()
            grown = {name: process.memory_info().rss - before[name] for name, process in processes.items()}
            first = sleeper.numbers[-1]
            took_s = sleeper.to(end)
            found: dict[str, object] = {"slept": sleeper.figures(took_s) | {"asleep": end - first}}
            found["steady"] = listener.figures(0.0)
            with Subscription(endpoint, replay=replay, after=Place()) as late:
                comer = Heard(late)
                took_s = comer.to(end)
                found["late"] = comer.figures(took_s)
    return found | {f"{name}_grew_mb": round(grew / 1e6, 1) for name, grew in grown.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="for which one subscriber sleeps")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), chosen.seconds)
    console.print(figures, soft_wrap=True)
    print(json.dumps({"cpu": processor_name(), "seconds": chosen.seconds, "fps": FPS, **figures}))


if __name__ == "__main__":
    main()
