"""`edge ctl challenge` on real lines: on the belt and with pictures from files, and what follows from it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from lines import RunningLine, Subscriber, line_name, running, stop, until, write_boards, write_recipe
from typer.testing import CliRunner

from edge.__main__ import app
from edge.challenge.report import Report
from edge.errors import ReportError
from edge.line.ask import ask

BELT = 'kind = "folder"\nfiles = "belt/*.{view}.png"\nwidth = 64\nheight = 64\nwatch = true'
CHALLENGE = "[timing]\ndeadline_ms = 5000\n[challenge]\nevery_h = 8\n[journal]"


@pytest.fixture
def recipe(tmp_path: Path, tiny_bundle: Path, textured: np.ndarray) -> Path:
    """The recipe of a line whose belt is a folder, and folders of known good and bad parts."""
    write_boards(tmp_path, {"good": True, "bad": False}, textured)
    for name in ("belt", "good", "bad"):
        (tmp_path / name).mkdir()
    for name in ("good", "bad"):
        shutil.move(tmp_path / f"frames/{name}.a.png", tmp_path / f"{name}/1.a.png")
    return write_recipe(tmp_path, tiny_bundle, BELT, CHALLENGE)


def ctl(folder: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "edge", "ctl", "--line", line_name(folder), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def report_of(said: str) -> Report:
    return msgspec.json.decode(said, type=Report)


def test_pictures_go_through_the_recipe_of_a_running_line(tmp_path: Path, recipe: Path) -> None:
    """Good ones pass, bad ones and damaged ones are rejected; the line itself never sees them."""
    folders = ("--good", str(tmp_path / "good"), "--bad", str(tmp_path / "bad"))
    with Subscriber(tmp_path) as subscriber, running(recipe) as line:
        line.pid("capture")
        with ctl(tmp_path, "challenge", *folders, "--parts", "1", "--by", "anna", "--json") as test:
            out, told = test.communicate(timeout=100)
        assert test.returncode == 0, told
        report = report_of(out)
        path = Path(re.search(r"report: (\S+)", told)[1])
        shown = CliRunner().invoke(app, ["ctl", "challenge", "verify", str(path)])
        assert shown.exit_code == 0
        assert "PASSED" in shown.output
        assert "unchanged since it was signed" in shown.output
        path.write_bytes(path.read_bytes().replace(b'"anna"', b'"anne"'))
        shown = CliRunner().invoke(app, ["ctl", "challenge", "verify", str(path)])
        assert isinstance(shown.exception, ReportError)
        assert "was changed" in str(shown.exception)
        # Parts that were laid on the wrong way round: the test must fail.
        wrong = ("--good", str(tmp_path / "bad"), "--bad", str(tmp_path / "good"))
        with ctl(tmp_path, "challenge", *wrong, "--order", "consecutive", "--parts", "1", "--json") as test:
            out, _ = test.communicate(timeout=100)
        assert test.returncode == 1
        assert [bool(each.wrong) for each in report_of(out).tested] == [True]
        status = ask(line_name(tmp_path), "status")
        stop(line)
    assert subscriber.verdicts == []
    assert [(each.step.expected, each.wrong) for each in report.tested] == [
        ("reject", ""), ("accept", ""), ("reject", ""), ("accept", ""), *[("reject", ""), ("accept", "")] * 3
    ]  # fmt: skip
    reasons = [each.said.reason for each in report.tested if each.step.fault]
    assert reasons == ["dark", "frame", "frame"]
    assert (report.how, report.by, report.recipe) == ("folder", "anna", status["recipe"])
    assert "failed" in status["challenge"]


class Person:
    """Does what the test says, with the pictures of good and bad parts, until it ends."""

    def __init__(self, folder: Path, line: RunningLine, textured: np.ndarray) -> None:
        self.folder, self.line, self.count = folder, line, 0
        self.black = cv2.imencode(".png", np.zeros_like(textured))[1].tobytes()

    def lay(self, data: bytes) -> None:
        self.count += 1
        beside = self.folder / "next"
        beside.write_bytes(data)
        beside.rename(self.folder / f"belt/{self.count:03d}.a.png")

    def follow(self, said: str) -> None:
        good, bad = ((self.folder / kind / "1.a.png").read_bytes() for kind in ("good", "bad"))
        if "pull the camera" in said:
            os.kill(self.line.pid("capture"), signal.SIGKILL)
        elif "cover the lens" in said:
            self.lay(self.black)
        else:
            self.lay(bad if "BAD" in said else good)

    def test(self, *words: str, extra: bool = False) -> tuple[int, str, list[str]]:
        """Make a test; `extra` lays two parts on at the second step. Its status, output and what it told."""
        told = []
        with ctl(self.folder, "challenge", *words) as test:
            assert test.stdout
            assert test.stderr
            for row in test.stderr:
                told.append(row.strip())
                if re.match(r"\d+/\d+: ", row):
                    self.follow(row)
                    if extra and row.startswith("2/"):
                        self.follow(row)
            out = test.stdout.read()
        return test.returncode, out, told


def test_a_line_is_held_until_a_test_on_its_belt_passes(
    tmp_path: Path, recipe: Path, textured: np.ndarray
) -> None:
    """From its first start, and after a test that failed. What passes in a test is judged as ever."""
    name = line_name(tmp_path)

    def state(kind: str) -> Callable[[], bool]:
        return lambda: bool(subscriber.heartbeats) and subscriber.heartbeats[-1]["state"] == kind

    with Subscriber(tmp_path) as subscriber, running(recipe) as line:
        until(state("held"), "the line is held", line)
        person = Person(tmp_path, line, textured)
        person.follow("GOOD")
        until(lambda: subscriber.verdicts, "a part before the test is rejected", line)
        assert subscriber.verdicts[0][1].reason == "hold"
        status, out, told = person.test("--parts", "1", "--json")
        assert status == 0, told
        assert report_of(out).passed
        until(state("idle"), "the line is released", line)
        assert ask(name, "status")["last_test"]["passed"]
        status, out, told = person.test("--order", "alternating", "--parts", "2", "--json", extra=True)
        assert status == 1
        assert "a part came that was not asked for" in report_of(out).faults[0]
        until(state("held"), "the line is held again", line)
        seen = len(subscriber.verdicts)
        person.follow("GOOD")
        until(lambda: len(subscriber.verdicts) > seen, "a part after the test is rejected", line)
        assert subscriber.verdicts[-1][1].reason == "hold"
        stop(line)
    reports = sorted((tmp_path / "state/linejudge" / f"{name}.challenges").glob("*.json"))
    journal = tmp_path / "state/linejudge/journal" / f"{name}.sqlite"
    with contextlib.closing(sqlite3.connect(journal)) as db:
        query = "SELECT body FROM journal WHERE kind = 'command' ORDER BY rowid"
        given = [json.loads(body)["keys"] for (body,) in db.execute(query)]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in reports]
    assert [(keys["passed"], keys["sha256"]) for keys in given if "sha256" in keys] == [
        (True, digests[0]),
        (False, digests[1]),
    ]
    assert [json.loads(path.read_text())["report"]["by"] != "" for path in reports] == [True, True]
