"""A report of a challenge test: signed, dated, and worthless after one byte of it was changed."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge.challenge.compare import Outcome, Said
from edge.challenge.orders import PULLED, Step
from edge.challenge.report import Report, opened, sealed, text_of, write_report
from edge.challenge.signing import read_key
from edge.errors import ReportError

BAD = Step(order="consecutive", part="bad", expected="reject")
FOUND = Said(action="reject", verdict="reject", reason="defect", detail="", part_id="7-1", score=0.9)


def report(**more: Any) -> Report:
    made = Report(
        line="pcb",
        how="belt",
        by="Änne",
        started_at="2026-11-30T06:00:00.000000Z",
        ended_at="2026-11-30T06:04:00.000000Z",
        recipe="r" * 64,
        bundle="b" * 64,
        engine="openvino",
        precision="int8",
        software="0.1.0",
        due_at="2026-11-30T07:00:00.000000Z",
        orders=("consecutive",),
        tested=(Outcome(step=BAD, said=FOUND, wrong=""),),
        faults=(),
    )
    return msgspec.structs.replace(made, **more)


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    """With the public key of who signed it."""
    key = read_key(tmp_path / "keys" / "challenge.key")
    path = write_report(report(), key, tmp_path / "reports")
    assert opened(path.read_bytes()) == (report(), key.public)
    assert path.name == "2026-11-30T06-00-00.000000.json"
    told = path.with_suffix(".txt").read_text()
    for word in ("pcb", "PASSED", "Änne", "2026-11-30T07:00:00", "r" * 64, "b" * 64, "7-1", key.public):
        assert word in told


@pytest.mark.parametrize(
    ("cameras", "faults", "told"),
    [
        (("top", "side"), ("covered lens", PULLED), f"covered lens, {PULLED}\n"),
        (("top",), ("covered lens",), f"covered lens; not tested with the pictures of one camera: {PULLED}\n"),
    ],
    ids=["two cameras", "one camera"],
)
def test_a_report_tells_which_faults_were_tested(
    cameras: tuple[str, ...], faults: tuple[str, ...], told: str
) -> None:
    """And that the pictures of one camera cannot show what happens without it."""
    steps = [
        Step(order="fail-safe", part="good", expected="reject", fault=fault, camera=camera)
        for fault in faults
        for camera in cameras
    ]
    tested = tuple(Outcome(step=step, said=FOUND, wrong="") for step in steps)
    text = text_of(report(how="folder", cameras=cameras, orders=("fail-safe",), tested=tested), "key")
    assert f"faults       {told}" in text
    assert f"cameras      {', '.join(cameras)}\n" in text
    assert f"good part, covered lens, {cameras[-1]} " in text


def test_each_changed_byte_is_found(tmp_path: Path) -> None:
    """Wherever it is: in the report, in its spaces, in the key, in the signature or between them."""
    data = sealed(report(), read_key(tmp_path / "key"))
    random_ = random.Random(3)
    for place in range(len(data)):
        for byte in {data[place] ^ 1, data[place] ^ 0x20, random_.randrange(256)} - {data[place]}:
            with pytest.raises(ReportError):
                opened(data[:place] + bytes((byte,)) + data[place + 1 :])


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-1],
        lambda data: data + b"\n",
        lambda data: b" " + data,
        lambda data: data[: len(data) // 2],
        lambda data: data.replace(b'"key"', b'"passed": true,\n"key"'),
        lambda data: b"",
        lambda data: b"[" * 100_000,
        lambda data: b"x" * 5_000_000,
        lambda data: data.replace(b'"signature": "', b'"signature": "00 '),
    ],
)
def test_a_file_that_is_no_report_is_refused(tmp_path: Path, change: Any) -> None:
    """Cut, continued, with more in it, or nested deeply."""
    with pytest.raises(ReportError):
        opened(change(sealed(report(), read_key(tmp_path / "key"))))


def test_the_signature_of_another_report_is_none(tmp_path: Path) -> None:
    """Nor is one by another key, under the name of the first."""
    key, other = read_key(tmp_path / "key"), read_key(tmp_path / "other")
    one, two = sealed(report(), key), sealed(report(by="Bo"), other)
    signature = one[one.index(b'"signature"') :]
    with pytest.raises(ReportError, match="was changed"):
        opened(two[: two.index(b'"signature"')] + signature)
    with pytest.raises(ReportError, match="was changed"):
        opened(two.replace(other.public.encode(), key.public.encode()))


@pytest.mark.parametrize(
    ("more", "passed"),
    [
        ({}, True),
        ({"tested": ()}, False),
        ({"tested": (Outcome(step=BAD, said=None, wrong="no verdict came"),)}, False),
        ({"faults": ("a part too many",)}, False),
    ],
)
def test_a_test_passes_only_if_each_part_did_and_nothing_else_went_wrong(more: Any, passed: bool) -> None:
    """One without parts has shown nothing."""
    made = report(**more)
    assert made.passed == passed
    assert ("PASSED" if passed else "FAILED") in text_of(made, "key")
    assert all(fault in text_of(made, "key") for fault in made.faults)


def test_a_key_is_made_once_and_for_its_user_alone(tmp_path: Path) -> None:
    """One that others can read is refused: they could sign with it."""
    path = tmp_path / "challenge.key"
    assert read_key(path).public == read_key(path).public
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    with pytest.raises(ReportError, match="others can read"):
        read_key(path)


@pytest.mark.parametrize(
    "data", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_damaged_key_is_told(tmp_path: Path, data: bytes) -> None:
    """It is never replaced: older reports are compared with its public key."""
    path = tmp_path / "challenge.key"
    path.write_bytes(data)
    path.chmod(0o600)
    with pytest.raises(ReportError, match="not a private key"):
        read_key(path)
    assert path.read_bytes() == data


def test_a_folder_that_takes_no_report_is_told(tmp_path: Path) -> None:
    """Before anybody believes that there is one."""
    (tmp_path / "reports").write_text("a file")
    with pytest.raises(ReportError, match="cannot write the report"):
        write_report(report(), read_key(tmp_path / "key"), tmp_path / "reports")
