"""Defines the command `edge`: it runs a line, checks one, shows a demonstration, and shows verdicts."""

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

from .commands import ctl, journal, keys
from .commands.replay import replay
from .errors import EdgeError, LineError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Linejudge: one verdict for every triggered part, before its deadline. Begin with `edge demo`.",
)

app.add_typer(ctl.app, name="ctl")
app.add_typer(journal.app, name="journal")
app.add_typer(keys.app, name="keys")

RecipePath = Annotated[
    Path, typer.Argument(help="The file with the line's recipe, in TOML.", show_default=False)
]


@app.command()
def demo(
    parts: Annotated[int, typer.Option(min=1, help="Number of boards to judge.")] = 100,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the rendered boards; the same seed gives the same boards.")
    ] = 0,
    fps: Annotated[
        float, typer.Option(min=0.1, help="Boards per second; lowered where this machine cannot judge as many.")
    ] = 20.0,
    picture: Annotated[
        Path | None, typer.Option(help="File (.png or .jpg) for a picture of some judged boards.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON at the end instead of a table.")
    ] = False,
) -> None:
    """Run a line on rendered pictures of boards, and compare each verdict with the truth. Needs no set-up."""
    from .demo import run_demo

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    report = run_demo(parts, seed, fps, picture=picture, stopping=_stop_on_signals(), quiet=as_json)
    if as_json:
        print(json.dumps(report))


@app.command()
def check(recipe: RecipePath) -> None:
    """Check that a recipe, its bundles, their engines and its source can be used. Changes nothing."""
    from .check import check_line

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    check_line(recipe, _state_folder())


@app.command()
def run(recipe: RecipePath) -> None:
    """Run a line until a signal stops it (Ctrl-C, SIGTERM) or its source ends.

    The line publishes verdicts on the endpoints in its recipe, under the topics
    reject.<line> and accept.<line>. It serves metrics on the recipe's HTTP port.
    Each part that was captured before the line stops still gets its verdict.
    """
    from prometheus_client import CollectorRegistry

    from .judges.judge import read_line
    from .line.plan import processes
    from .line.supervisor import Line
    from .messages import Alarm, Broadcast, Verdict
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
        raise LineError(
            f"{state}: cannot make the state folder: {error.strerror}: set STATE_DIRECTORY to a folder that "
            "outlasts the line"
        ) from error
    registry = CollectorRegistry()
    metrics = Metrics(registry, read.line, read.timing.slots, processes(read))
    service = Service(os.environ.get("NOTIFY_SOCKET"))
    if period_ms := feeding_ms(os.environ):
        read = read.beating(period_ms)
    verdicts: Counter[str] = Counter()

    def hear(message: Broadcast) -> None:
        if isinstance(message, Verdict):
            verdicts[message.verdict] += 1
        elif isinstance(message, Alarm):
            logging.warning("alarm %s %s: %s", message.alarm, message.state, message.text)
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
def watch(
    endpoint: Annotated[
        str,
        typer.Argument(
            help="Endpoint of the line, which its recipe names under `publish`, such as tcp://127.0.0.1:5571.",
            show_default=False,
        ),
    ],
    count: Annotated[
        int, typer.Option(min=0, help="Number of verdicts to show before it ends; 0 for no end.")
    ] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each verdict as one line of JSON instead of a table.")
    ] = False,
    replay: Annotated[
        str, typer.Option(help="Replay endpoint of the line, where verdicts that did not come are asked for.")
    ] = "",
    since: Annotated[
        str,
        typer.Option(
            "--from",
            help="Number of the first verdict to show, or `start` for that of the run; needs --replay.",
            show_default="the next one",
        ),
    ] = "",
    keys: Annotated[
        Path | None,
        typer.Option(help="Folder with the keys of this subscriber, for a line that asks for keys."),
    ] = None,
) -> None:
    """Show a line's verdicts as they come, as a live table on a terminal and otherwise as lines of text.

    Verdicts that are lost and a line that is silent are shown, too.
    """
    from .keys import client_keys
    from .subscription import Place, Subscription
    from .watch import watch_line

    number = 1 if since == "start" else int(since) if since.isdecimal() else 0
    if since and (number < 1 or not replay):
        raise LineError(
            f"--from {since}: expected `start` or a number from 1 on, and --replay with the endpoint"
        )
    after = Place(number=number - 1) if since else None
    found = client_keys(keys) if keys else None
    try:
        subscription = Subscription(endpoint, replay=replay, after=after, keys=found)
        watch_line(subscription, endpoint, count, as_json, _stop_on_signals())
    except BrokenPipeError:
        # The program that reads the output has ended, such as `head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


app.command()(replay)


def _stop_on_signals() -> list[int]:
    """Return a list that is empty until a signal asks the process to stop. systemd's watchdog sends SIGABRT."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGABRT):
        signal.signal(number, note)
    # Under nohup, SIGHUP stays ignored.
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, note)
    return received


def _state_folder() -> Path:
    """Return the folder for epochs (numbers of starts of capture): systemd's StateDirectory, or the user's."""
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
    """Run the command line. If it raises an EdgeError, print `edge: ...` on stderr and exit with status 1."""
    try:
        app()
    except EdgeError as error:
        print(f"edge: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
