"""What docs/verdicts.md shows is what a line publishes, and the guard that it shows guards."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import msgspec
import numpy as np
from lines import Subscriber, running, until, write_boards, write_recipe

from edge.messages import Reason, Verdict

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
VERDICTS = (ROOT / "docs" / "verdicts.md").read_text()


def test_the_verdict_shown_is_a_verdict() -> None:
    """Who parses the example parses what the line sends, with all fields that every verdict has."""
    (shown,) = re.findall(r"```json\n(.*?)```", VERDICTS, re.DOTALL)
    verdict = msgspec.json.decode(shown, type=Verdict)
    always = {field.name for field in msgspec.structs.fields(Verdict) if field.default is not msgspec.UNSET}
    assert set(msgspec.json.decode(shown)) == always
    parts = [verdict.latency_us[stage] for stage in ("capture", "preprocess", "infer", "publish")]
    assert sum(parts) == verdict.latency_us["total"] == (verdict.published_ns - verdict.captured_ns) // 1000


def test_the_reasons_told_are_those_there_are() -> None:
    """Who sorts parts by their reason has read of each one that a part can be rejected for or unknown by."""
    (told,) = re.findall(r"\n`verdict` is (.*?)\n\n", VERDICTS, re.DOTALL)
    missing = [reason for reason in get_args(Reason) if reason != "clean" and f"`{reason}`" not in told]
    assert missing == []


def test_the_gate_of_the_subscriber_shown_opens_for_accepted_parts_alone(
    tmp_path: Path, tiny_bundle: Path, textured: np.ndarray
) -> None:
    """For each of them while the line lives; when the line is killed it stays shut, and the belt is stopped.

    What the README shows hears the same line meanwhile.
    """
    listen, shown = (
        code.replace("tcp://127.0.0.1:5571", f"ipc://{tmp_path}/verdicts.ipc")
        for text in (README, VERDICTS)
        for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    )
    source = write_boards(tmp_path, {"0": True, "1": False}, textured) + "\nfps = 20\nrepeat = true"
    recipe = write_recipe(tmp_path, tiny_bundle, source, "[timing]\ndeadline_ms = 2000")
    gate, listener = (
        subprocess.Popen([sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, text=True)
        for code in (shown, listen)
    )
    assert gate.stdout
    assert listener.stdout
    try:
        with Subscriber(tmp_path) as subscriber, running(recipe) as line:
            until(lambda: len(subscriber.verdicts) >= 40, "some verdicts", line)
            line.process.kill()
            opened: list[str] = []
            while not opened or opened[0] == "stop the belt":  # as before the line was there
                opened = [gate.stdout.readline().strip()]
            while (said := gate.stdout.readline().strip()) != "stop the belt":
                opened.append(said)
            heard = [listener.stdout.readline().partition("(")[0] for _ in range(40)]
            after = [gate.stdout.readline().strip() for _ in range(10)]
        verdicts = {verdict.part_id: topic for topic, verdict in subscriber.verdicts}
    finally:
        for process in (gate, listener):
            process.kill()
            process.communicate()
    accepted = [part for part, topic in verdicts.items() if topic.startswith("accept.")]
    assert opened == accepted
    assert {one for one in heard if not one.startswith("no heartbeat")} == {"Verdict", "Heartbeat"}
    assert 10 < len(accepted) < len(verdicts)
    assert after == ["stop the belt"] * 10
