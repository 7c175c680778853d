"""Defines `edge journal`: verifies a line's journal, shows what it says of a part, and exports it."""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import typer

from ..errors import JournalError

app = typer.Typer(no_args_is_help=True, help="Verify, show and export the journal of a line's verdicts.")

JournalFile = Annotated[
    Path,
    typer.Argument(help="The line's journal: a file LINE.sqlite in its recipe's folder.", show_default=False),
]


@app.command()
def verify(file: JournalFile) -> None:
    """Check that no row of a journal was changed, added or deleted. The exit status is 1 if one was.

    It says which verdicts could not be written, and prints the hash of the last
    row. Note this hash elsewhere: rows that are cut off at the end leave no trace
    in the file itself.
    """
    from ..journal.reading import verify

    found = verify(file)
    for gap in found.gaps:
        print(f"gap: {gap}")
    for fault in found.faults:
        print(f"broken: {fault}")
    if found.faults:
        raise JournalError(f"{file}: is not as it was written; first: {found.faults[0]}")
    last = f"row {found.last.id} is the last: {found.last.hash}" if found.last else "it is empty"
    print(f"{found.rows} rows are whole: {found.verdicts} verdicts, {found.missing} missing; {last}")


@app.command()
def show(
    part_id: Annotated[str, typer.Argument(help="The part_id from the part's verdict.", show_default=False)],
    file: JournalFile,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each row about the part as one line of JSON instead.")
    ] = False,
) -> None:
    """Show what a journal says of one part: its verdict, and where in the journal it stands."""
    from ..journal.export import record_of
    from ..journal.reading import of_part
    from ..journal.shown import shown

    if not (rows := of_part(file, part_id)):
        raise JournalError(f"{file}: says nothing of a part {part_id!r}")
    for row in rows:
        if as_json:
            print(json.dumps({**record_of(row), "body": json.loads(row.body)}))
        else:
            print("\n".join(shown(row)))


@app.command()
def export(
    file: JournalFile,
    csv: Annotated[
        Path | None, typer.Option(help="File for the rows as CSV, or - for the standard output.")
    ] = None,
    parquet: Annotated[
        Path | None, typer.Option(help="File for the rows as Parquet; needs the extra `parquet`.")
    ] = None,
    begin: Annotated[
        str, typer.Option("--from", help="First time to export, in ISO 8601; UTC if it names no zone.")
    ] = "",
    end: Annotated[
        str, typer.Option("--to", help="Time before which rows are exported, in ISO 8601; UTC if no zone.")
    ] = "",
) -> None:
    """Write the rows of a journal, or those of some time, as a CSV or Parquet file."""
    from ..journal.export import write_csv, write_parquet
    from ..journal.reading import between

    if (csv is None) == (parquet is None):
        raise JournalError("say where the rows go: either --csv FILE or --parquet FILE")
    rows = between(file, _time("--from", begin), _time("--to", end))
    if parquet is not None:
        count = write_parquet(rows, parquet)
    elif str(csv) == "-":
        try:
            count = write_csv(rows, sys.stdout)
            sys.stdout.flush()
        except BrokenPipeError:
            # The program that reads the output has ended, such as `head`.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return
    else:
        assert csv is not None
        try:
            with open(csv, "w", newline="", encoding="utf-8") as to:
                count = write_csv(rows, to)
        except OSError as error:
            if isinstance(error, JournalError):
                raise
            raise JournalError(f"{csv}: cannot be written: {error.strerror}") from error
    print(f"{count} rows exported", file=sys.stderr)


def _time(option: str, given: str) -> str:
    """Return a time as the journal writes it. Empty if none is given."""
    if not given:
        return ""
    try:
        # Python 3.10 cannot parse the Z.
        found = datetime.fromisoformat(given.replace("Z", "+00:00"))
    except ValueError as error:
        raise JournalError(f"{option} {given!r}: is no time: write one as in 2026-11-30T22:00:00Z") from error
    found = found if found.tzinfo else found.replace(tzinfo=timezone.utc)
    return f"{found.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%S.%f}Z"
