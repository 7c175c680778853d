"""The command line `edge`: run a line, check it, see a demonstration, watch verdicts."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from .errors import EdgeError, LineError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Linejudge: one verdict for every triggered part, before its deadline.",
)

RecipePath = Annotated[
    Path, typer.Argument(help="The file with the line's recipe, in TOML.", show_default=False)
]


@app.command()
def run(recipe: RecipePath) -> None:
    """Run a line until it is stopped (Ctrl-C, SIGTERM) or its source ends.

    Verdicts go out on the recipe's endpoints, under the topics reject.<line>
    and accept.<line>; metrics on its HTTP port. When the line is stopped, the
    parts in flight still get their verdict.
    """
    from prometheus_client import CollectorRegistry

    from .judges.judge import read_line
    from .line.supervisor import Line
    from .messages import Heartbeat, Verdict
    from .monitoring.exposition import serve_metrics
    from .monitoring.gpu import GpuWatch, find_gpu
    from .monitoring.metrics import Metrics
    from .monitoring.systemd import Service, feeding_ms

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    stopping = _stop_on_signals()
    read, digest, judges = read_line(recipe)
    state = _state_folder()
    try:
        state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        said = (
            f"{state}: cannot make the state folder: {error.strerror}: set STATE_DIRECTORY to one that is kept"
        )
        raise LineError(said) from error
    registry = CollectorRegistry()
    metrics = Metrics(registry, read.line, read.timing.slots)
    service = Service(os.environ.get("NOTIFY_SOCKET"))
    if period_ms := feeding_ms(os.environ):
        read = read.beating(period_ms)
    verdicts: Counter[str] = Counter()

    def hear(message: Verdict | Heartbeat) -> None:
        if isinstance(message, Verdict):
            verdicts[message.verdict] += 1
        elif message.state != "blind":
            counts = ", ".join(f"{verdicts[kind]} {kind}" for kind in ("pass", "reject", "unknown"))
            service.notify(f"WATCHDOG=1\nSTATUS={message.state}: {counts}")
        else:
            service.notify(f"STATUS=blind: {message.reason}")

    with ExitStack() as opened:
        if read.metrics.port:
            opened.enter_context(serve_metrics(registry, read.metrics.host, read.metrics.port))
            metrics.gpu(opened.enter_context(GpuWatch(find_gpu)).latest)
        line = opened.enter_context(Line(read, digest, judges, state=state, metrics=metrics, hear=hear))
        logging.info("line %s is armed; verdicts on %s", read.line, ", ".join(read.publish.endpoints))
        service.notify("READY=1")
        while not stopping and not line.ended:
            line.tick()
        service.notify("STOPPING=1")
    logging.info("line %s: %d parts: %s", read.line, sum(verdicts.values()), dict(verdicts))


@app.command()
def check(recipe: RecipePath) -> None:
    """Read a recipe, load its bundle, judge the golden frames and look at the source; change nothing."""
    from .check import check_line

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    check_line(recipe, _state_folder())


@app.command()
def demo(
    parts: Annotated[int, typer.Option(min=1, help="How many boards to judge before it ends.")] = 100,
    seed: Annotated[
        int, typer.Option(min=0, help="Which boards to render; the same seed gives the same ones.")
    ] = 0,
    fps: Annotated[
        float,
        typer.Option(min=0.1, help="How many boards come a second; more than the line can judge become late."),
    ] = 20.0,
    picture: Annotated[
        Path | None, typer.Option(help="File, .png or .jpg, for a picture of some boards as they were judged.")
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print one line of JSON at the end, for a program to read, and no table."),
    ] = False,
) -> None:
    """Judge rendered boards on a real line, and compare every verdict with the truth. Needs no set-up."""
    from .demo import run_demo

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    report = run_demo(parts, seed, fps, picture=picture, stopping=_stop_on_signals(), quiet=as_json)
    if as_json:
        print(json.dumps(report))


@app.command()
def watch(
    endpoint: Annotated[
        str,
        typer.Argument(
            help="Where the line publishes, as its recipe says: for example tcp://127.0.0.1:5571.",
            show_default=False,
        ),
    ],
    count: Annotated[
        int, typer.Option(min=0, help="End after so many verdicts; 0 goes on until it is stopped.")
    ] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each verdict as it comes, as one line of JSON, and no table.")
    ] = False,
) -> None:
    """Show a line's verdicts as they come: a live table, or plain lines where the output is no terminal."""
    from .watch import watch_line

    try:
        watch_line(endpoint, count, as_json, _stop_on_signals())
    except BrokenPipeError:  # whoever read along has ended, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _stop_on_signals() -> list[int]:
    """A list that is empty until a signal comes that asks for an end; systemd's watchdog sends SIGABRT."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGABRT):
        signal.signal(number, note)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as under nohup
        signal.signal(signal.SIGHUP, note)
    return received


def _state_folder() -> Path:
    """Where the epochs are kept: systemd's StateDirectory, or the user's state folder."""
    if given := os.environ.get("STATE_DIRECTORY"):
        return Path(given)
    if home := os.environ.get("XDG_STATE_HOME"):
        return Path(home) / "linejudge"
    try:
        return Path.home() / ".local" / "state" / "linejudge"
    except RuntimeError as error:
        raise LineError(
            f"the user {os.getuid()} has no home folder, and epochs must outlast the line, or part_ids would "
            "repeat: set STATE_DIRECTORY to a folder that is kept"
        ) from error


def main() -> None:
    """Run the command line; what Linejudge itself reports is one line on stderr and status 1."""
    try:
        app()
    except EdgeError as error:
        print(f"edge: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
