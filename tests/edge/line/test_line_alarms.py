"""Alarms of a real line: told to subscribers and people, and kept until somebody acknowledges them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
from lines import RunningLine, Subscriber, line_name, running, stop, until, write_boards, write_recipe
from ports import free_port

from edge.line.ask import ask
from edge.messages import Alarm

# No part is late on a busy machine.
ALARMS = "[timing]\ndeadline_ms = 5000\n[alarms]\nreject_rate = 0.999\nconsecutive = "


def ctl(line: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge", "ctl", "--line", line, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def named(subscriber: Subscriber, *alarms: str) -> Callable[[], bool]:
    """Tells whether a heartbeat from now on names exactly these alarms."""
    seen = len(subscriber.heartbeats)
    return lambda: any(beat["alarms"] == list(alarms) for beat in subscriber.heartbeats[seen:])


def states(subscriber: Subscriber) -> set[tuple[str, str]]:
    return {(alarm.alarm, alarm.state) for alarm in subscriber.alarms}


def test_an_alarm_is_heard_and_outlives_publish_and_the_line(
    tmp_path: Path, endless: Callable[..., Path]
) -> None:
    """Every part is rejected: subscribers, people and metrics are told, until a person acknowledges it."""
    port, name = free_port(), line_name(tmp_path)
    recipe = endless(ALARMS + "5", score=0.9)
    recipe.write_text(recipe.read_text().replace("port = 0", f"port = {port}"))

    def metric(line: RunningLine) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            rows = answer.read().decode().splitlines()
        (row,) = [row for row in rows if row.startswith("linejudge_alarm{") and 'alarm="consecutive"' in row]
        return row.rpartition(" ")[2]

    with Subscriber(tmp_path) as subscriber:
        with running(recipe) as line:
            until(named(subscriber, "consecutive"), "a heartbeat names the alarm", line)
            # It may come again, for example because another subscriber came.
            assert states(subscriber) == {("consecutive", "raised")}
            until(lambda: metric(line) == "1.0", "the metric tells it", line)
            line.kill("publish")
            until(named(subscriber, "consecutive"), "publish names it again", line)
            assert "consecutive: raised since " in ctl(name, "alarms").stdout
            stop(line)
        seen = len(subscriber.alarms)
        with running(recipe) as line:
            until(named(subscriber, "consecutive"), "the next line names it", line)
            assert (
                ctl(name, "ack", "consecutive", "--by", "ann").stdout == "alarm consecutive is acknowledged\n"
            )
            until(lambda: subscriber.alarms[-1].state == "acknowledged", "it is told", line)
            refused = ctl(name, "ack", "consecutive")
            assert (refused.returncode, refused.stderr) == (
                1,
                f"edge: line {name!r}: alarm consecutive: it is acknowledged\n",
            )
            stop(line)
        assert {alarm.raised_at for alarm in subscriber.alarms} == {subscriber.alarms[0].raised_at}
        assert subscriber.alarms[-1].by == "ann"
        assert len(subscriber.alarms) > seen
        # Once the parts are good again, it clears by itself.
        manifest = next(tmp_path.glob("constant/manifest.json"))
        manifest.write_text(manifest.read_text().replace("0.9", "0.1"))
        with running(recipe) as line:
            until(lambda: subscriber.alarms[-1].state == "cleared", "it is cleared", line)
            assert json.loads(ctl(name, "alarms", "--json").stdout) == {"alarms": []}
            until(lambda: metric(line) == "0.0", "the metric tells it", line)
            until(named(subscriber), "heartbeats name it no more", line)
            stop(line)


def test_a_damaged_file_of_alarms_is_an_alarm(tmp_path: Path, endless: Callable[..., Path]) -> None:
    """The line judges on, and says that alarms of the last run may be lost."""
    recipe, state = endless(), tmp_path / "state" / "linejudge"
    state.mkdir(parents=True)
    (state / f"{line_name(tmp_path)}.alarms").write_text("{")
    with Subscriber(tmp_path) as subscriber, running(recipe) as line:
        until(named(subscriber, "state"), "the alarm is heard", line)
        (alarm,) = ask(line_name(tmp_path), "alarms")["alarms"]
        with Subscriber(tmp_path) as late:
            until(lambda: late.alarms, "who comes late is told, too", line)
        stop(line)
    assert "cannot be read" in alarm["text"]
    assert late.alarms[0] == Alarm(**alarm)


def test_the_bad_parts_of_a_challenge_test_raise_no_alarm(
    tmp_path: Path, constant_bundle: Callable[..., Path], textured: np.ndarray
) -> None:
    """Known bad parts are rejected in a row on purpose; after the test, the same parts do raise it."""
    name = line_name(tmp_path)
    source = write_boards(tmp_path, {}, textured) + "\nwatch = true\nfps = 100"
    recipe = write_recipe(tmp_path, constant_bundle(score=0.9), source, ALARMS + "40")

    def lay_on(numbers: range) -> None:
        for number in numbers:
            os.link(tmp_path / "masters/a.png", tmp_path / f"frames/{number:03}.a.png")

    with Subscriber(tmp_path) as subscriber, running(recipe) as line:
        until(lambda: ask(name, "testing", how="belt", for_s=600), "a test goes on", line)
        lay_on(range(100))
        until(lambda: len(subscriber.verdicts) >= 100, "a hundred parts are rejected", line)
        assert ask(name, "alarms")["alarms"] == []
        ask(name, "tested", passed=True, how="belt", by="ann", report="r", sha256="0" * 64)
        lay_on(range(100, 200))
        until(lambda: ask(name, "alarms")["alarms"], "the alarm is raised", line)
        stop(line)
    assert states(subscriber) == {("consecutive", "raised")}
