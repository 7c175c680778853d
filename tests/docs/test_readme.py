"""What the README shows is what works."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import get_args

import msgspec
import numpy as np
import pytest
import typer
from lines import Subscriber, running, until, write_boards, write_recipe

from edge.messages import Reason, Verdict
from edge.recipe import Fusion
from edge.recipe_file import read_recipe
from trt_build.__main__ import app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_recipes_shown_are_recipes(tmp_path: Path) -> None:
    """Who copies a recipe gets no error about it, and what its words say."""
    recipes = {}
    for shown in re.findall(r"```toml\n(.*?)```", README, re.DOTALL):
        (tmp_path / "line.toml").write_text(shown)
        recipe, _ = read_recipe(tmp_path / "line.toml")
        recipes[recipe.line] = recipe
    assert recipes["pcb"].rule.unknown == {"dark": "accept"}
    assert [judge.name for judge in recipes["pill"].judges] == ["surface", "imprint"]
    assert recipes["pill"].fusion == Fusion(false_reject=0.05)
    assert recipes["valves"].judges[0].drawings.endswith("valve-7/drawing*.png")


COMMANDS = re.findall(r"^ {4}trt-build (.+?)(?: +#.*)?$", README, re.MULTILINE)


@pytest.mark.parametrize("typed", COMMANDS)
def test_the_commands_shown_are_commands(typed: str) -> None:
    """Who types what is shown gets no error about a word of it."""
    group = typer.main.get_command(app)
    name, *words = shlex.split(typed)
    group.commands[name].make_context(name, words)  # reads them and runs nothing


def test_the_way_to_a_bundle_is_shown_whole() -> None:
    """Of a model of good parts and of a comparator: every step, in its order, and what a GPU needs after it."""
    steps = ["train", "export", "calibrate", "pack", "verify", "evaluate"]
    assert [typed.split()[0] for typed in COMMANDS] == [*steps, *steps, "build"]


def test_the_verdict_shown_is_a_verdict() -> None:
    """Who parses the example parses what the line sends, with all fields that every verdict has."""
    (shown,) = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    verdict = msgspec.json.decode(shown, type=Verdict)
    always = {field.name for field in msgspec.structs.fields(Verdict) if field.default is not msgspec.UNSET}
    assert set(msgspec.json.decode(shown)) == always
    parts = [verdict.latency_us[stage] for stage in ("capture", "preprocess", "infer", "publish")]
    assert sum(parts) == verdict.latency_us["total"] == (verdict.published_ns - verdict.captured_ns) // 1000


def test_the_reasons_told_are_those_there_are() -> None:
    """Who sorts parts by their reason has read of each one that a part can be rejected for or unknown by."""
    (told,) = re.findall(r"\n`verdict` is (.*?)\n\n", README, re.DOTALL)
    missing = [reason for reason in get_args(Reason) if reason != "clean" and f"`{reason}`" not in told]
    assert missing == []


def test_what_is_linked_exists() -> None:
    """No link of the README leads nowhere."""
    links = re.findall(r"\]\(([^):]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_gate_of_the_subscriber_shown_opens_for_accepted_parts_alone(
    tmp_path: Path, tiny_bundle: Path, textured: np.ndarray
) -> None:
    """For each of them while the line lives; when the line is killed it stays shut, and the belt is stopped."""
    listen, shown = (
        code.replace("tcp://127.0.0.1:5571", f"ipc://{tmp_path}/verdicts.ipc")
        for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL)
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
