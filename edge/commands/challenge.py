"""Defines `edge ctl challenge`, which tests a running line with known good and known bad parts."""

from __future__ import annotations

import json
import sys
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..challenge.orders import ORDERS, Order
from ..errors import ReportError

if TYPE_CHECKING:
    from ..challenge.compare import Outcome

app = typer.Typer(invoke_without_command=True, help="Test a running line with known good and known bad parts.")

_FOLDER = (
    "Folder with pictures of known {0} parts; for a line with several cameras, a folder with a folder for each "
    "camera, such as {0}/top/1.png and {0}/side/1.png of one part. For one camera, also a path with *, ** and "
    "?. Default: parts on the belt."
)


@app.callback()
def challenge(
    context: typer.Context,
    order: Annotated[
        list[str] | None, typer.Option(help=f"Order of the parts: {', '.join(ORDERS)}; default: all of them.")
    ] = None,
    parts: Annotated[
        int, typer.Option(min=1, max=100, help="Number of bad parts in the consecutive and alternating orders.")
    ] = 3,
    by: Annotated[str, typer.Option(help="Who makes the test, for the report.", show_default="the user")] = "",
    good: Annotated[str, typer.Option(help=_FOLDER.format("good"))] = "",
    bad: Annotated[str, typer.Option(help=_FOLDER.format("bad"))] = "",
    camera: Annotated[
        str, typer.Option(help="Test one camera of several alone. The folders then have its pictures only.")
    ] = "",
    key: Annotated[
        Path | None,
        typer.Option(help="File of the key that signs; default: challenge.key in state folder."),
    ] = None,
    patience_s: Annotated[
        float, typer.Option(min=1, max=600, help="Seconds to wait for each part before the test is given up.")
    ] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON at the end.")] = False,
) -> None:
    """Test a running line with known good and known bad parts, and write a signed report.

    Without folders, it says which part to lay on the belt next, and compares the line's verdict on it. Each
    part counts, so nothing else may pass the camera meanwhile. With --good and --bad, the pictures go through
    the line's recipe on a line of their own, which the running line does not notice. The exit status is 0 if
    the test passed, 1 if not.
    """
    if context.invoked_subcommand:
        return
    import msgspec

    from ..challenge.report import text_of
    from ..challenge.run import Wish, run_test
    from ..line.ask import only_line

    if bool(good) != bool(bad):
        raise ReportError("--good and --bad: give both folders, or neither for parts on the belt")
    wrong = [name for name in order or () if name not in ORDERS]
    if wrong:
        raise ReportError(f"--order: expected {', '.join(ORDERS)}, found {wrong[0]!r}")
    wanted: tuple[Order, ...] = tuple(name for name in ORDERS if name in (order or ORDERS))
    wish = Wish(
        line=context.obj or only_line(),
        by=by or getuser(),
        orders=wanted,
        repeats=parts,
        patience_s=patience_s,
        good=good,
        bad=bad,
        camera=camera,
        key=key,
    )

    def say(number: int, count: int, what: str) -> None:
        print(f"{number}/{count}: {what}", file=sys.stderr, flush=True)

    def tell(one: Outcome) -> None:
        found = f"{one.said.action} ({one.said.verdict} {one.said.reason})" if one.said else "nothing"
        told = f"WRONG: {one.wrong}" if one.wrong else f"ok: {found}"
        print(f"  {told}", file=sys.stderr, flush=True)

    report, path = run_test(wish, say, tell)
    print(msgspec.json.encode(report).decode() if as_json else text_of(report, "see the file"))
    print(f"report: {path}", file=sys.stderr)
    if not report.passed:
        raise typer.Exit(1)


@app.command()
def verify(
    report: Annotated[Path, typer.Argument(help="The report's JSON file.", show_default=False)],
    public: Annotated[
        str, typer.Option(help="Public key that must have signed it, 64 hex digits; default: any key.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one line of JSON.")] = False,
) -> None:
    """Check that a report was not changed since it was signed, and show it."""
    import msgspec

    from ..challenge.report import opened, text_of

    try:
        data = report.read_bytes()
    except OSError as error:
        raise ReportError(f"{report}: cannot be read: {error.strerror}") from error
    try:
        found, key = opened(data)
    except ReportError as error:
        raise ReportError(f"{report}: {error}") from error
    if public and public != key:
        raise ReportError(f"{report}: signed with the key {key}, not with {public}")
    if as_json:
        print(json.dumps({"key": key, "passed": found.passed, "report": msgspec.to_builtins(found)}))
    else:
        print(text_of(found, key))
        print("unchanged since it was signed" + ("" if public else "; compare the key with the line's own"))
