"""Defines the report of a challenge test, as a signed JSON file and as text for people.

The file is `{"report": ..., "key": ..., "signature": ...}`. The signature, Ed25519 of RFC 8032, is that of the
bytes of the report exactly as they stand in the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from ..errors import ReportError
from .compare import Outcome
from .orders import ORDERS, PULLED, Order
from .signing import Key, is_signed_by

REPORT_BYTES = 4_000_000


class Report(Struct, frozen=True, kw_only=True):
    """The facts about one challenge test. Times are UTC in ISO 8601."""

    format: int = 1
    line: str
    how: Literal[
        "belt", "folder"
    ]  # parts on the line's belt, or pictures through its recipe on a line of its own
    by: str  # who made the test
    started_at: str
    ended_at: str
    recipe: str  # SHA-256 of the recipe file
    bundle: str  # SHA-256, as in verdicts
    engine: str
    precision: str
    software: str  # version of Linejudge
    due_at: str = ""  # when the test was due at the latest; empty: the recipe asks for none
    cameras: tuple[str, ...] = ()  # whose pictures were presented; none on the belt, where all see the parts
    orders: tuple[Order, ...]
    tested: tuple[Outcome, ...]
    faults: tuple[str, ...]  # of the test as a whole, such as a part too many

    @property
    def passed(self) -> bool:
        """Whether every part got what was expected, and nothing else went wrong."""
        return bool(self.tested) and not self.faults and not any(one.wrong for one in self.tested)


class _Signed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    report: msgspec.Raw
    key: str
    signature: str


def sealed(report: Report, key: Key) -> bytes:
    """Return the bytes of the report's file."""
    body = msgspec.json.format(msgspec.json.encode(report), indent=1)
    return _file_of(body, key.public, key.sign(body))


def opened(data: bytes) -> tuple[Report, str]:
    """Return the report in a file, and the public key that has signed it, in hex.

    Raise ReportError if any byte of the file differs from what was signed. Whoever reads it has to know whose
    the key is: anybody can sign with a key of their own.
    """
    try:
        if len(data) > REPORT_BYTES:
            raise ReportError(f"longer than {REPORT_BYTES} bytes: this is no report")
        file = msgspec.json.decode(data, type=_Signed)
        report = msgspec.json.decode(file.report, type=Report)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ReportError(f"not a report of a challenge test: {error}") from error
    body = bytes(file.report)
    if not is_signed_by(file.key, file.signature, body) or data != _file_of(body, file.key, file.signature):
        raise ReportError("the report was changed after it was signed: do not trust it")
    return report, file.key


def _file_of(body: bytes, key: str, signature: str) -> bytes:
    return b'{"report": %s,\n"key": "%s",\n"signature": "%s"}\n' % (body, key.encode(), signature.encode())


def text_of(report: Report, key: str) -> str:
    """Return the report as text for people, one line a part."""
    rows = [
        f"Challenge test of line {report.line}: {'PASSED' if report.passed else 'FAILED'}",
        "",
        f"by           {report.by}",
        f"from         {report.started_at}",
        f"to           {report.ended_at}",
        f"was due      {report.due_at or 'at no set time'}",
        f"parts        {_HOW[report.how]}",
        *([f"cameras      {', '.join(report.cameras)}"] if report.cameras else []),
        f"faults       {_faults(report)}",
        f"recipe       {report.recipe}",
        f"bundle       {report.bundle}",
        f"engine       {report.engine} {report.precision}, Linejudge {report.software}",
        f"signed with  {key}",
    ]
    for order in (order for order in ORDERS if order in report.orders):
        rows += ["", f"{order}:", *_rows(report.tested, order)]
    rows += ["", *(f"FAULT: {fault}" for fault in report.faults)]
    return "\n".join(rows).rstrip() + "\n"


_HOW = {
    "belt": "on the belt of the running line: camera, judges and ejector are tested",
    "folder": "pictures from files, on a line of their own: judges are tested, camera, belt and ejector not",
}


def _faults(report: Report) -> str:
    """Return which faults were tested, and which one pictures of one camera cannot show."""
    found = ", ".join(dict.fromkeys(one.step.fault for one in report.tested if one.step.fault)) or "none"
    is_left_out = report.how == "folder" and "fail-safe" in report.orders and len(report.cameras) == 1
    return f"{found}; not tested with the pictures of one camera: {PULLED}" if is_left_out else found


def _rows(tested: Sequence[Outcome], order: Order) -> list[str]:
    rows = []
    for number, one in enumerate(tested, 1):
        if one.step.order == order:
            said = (
                f"{one.said.action}: {one.said.verdict} {one.said.reason} {one.said.part_id}"
                if one.said
                else "-"
            )
            what = ", ".join(filter(None, (f"{one.step.part} part", one.step.fault, one.step.camera)))
            state = f"WRONG: {one.wrong}" if one.wrong else "ok"
            rows.append(f"{number:4}  {what:26} expected {one.step.expected}  found {said:40} {state}")
    return rows


def write_report(report: Report, key: Key, folder: Path) -> Path:
    """Write the report into the folder as `<start>.json`, and beside it as text. Return the path of the JSON.

    Raise ReportError if that is impossible.
    """
    data = sealed(report, key)
    name = report.started_at.replace(":", "-").replace("Z", "")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"{name}.json"
        for target, content in ((path.with_suffix(".txt"), text_of(report, key.public).encode()), (path, data)):
            beside = target.with_suffix(".part")
            beside.write_bytes(content)
            beside.replace(target)
    except OSError as error:
        raise ReportError(f"{folder}: cannot write the report: {error.strerror}") from error
    return path
