"""What docs/subscribing.md shows is what works."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path

import pytest
from published import Line, published

from edge.recipe_file import read_recipe
from edge.subscription.protocol import ConfirmedLast, Replayed, answer_from, question_from

TEXT = (Path(__file__).parents[2] / "docs" / "subscribing.md").read_text()


class Stopped(Exception):
    """Ends the bridge of a test."""


class Plc:
    """Notes what the bridge does."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.logged: list[str] = []

    def open_gate(self, part_id: str) -> None:
        self.opened.append(part_id)

    def log(self, said: str) -> None:
        self.logged.append(said)

    def stop(self, said: str) -> None:
        raise Stopped(said)


def run_bridge(line: Line, plc: Plc) -> str:
    """Run the bridge as it is shown until it stops the belt; why it did."""
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    found: dict[str, object] = {}
    exec(code, found)
    with pytest.raises(Stopped) as stopped:
        found["bridge"](line.endpoint, line.replay, plc)  # type: ignore[operator]
    return str(stopped.value)


def test_the_bridge_shown_opens_for_accepted_parts_alone(tmp_path: Path) -> None:
    """Not for a part that is rejected nor for one that is heard too late, and it stops the belt at silence."""
    plc, said = Plc(), list[str]()
    with published(tmp_path) as line, line.answering():
        bridge = threading.Thread(target=lambda: said.append(run_bridge(line, plc)))
        bridge.start()
        line.await_subscriber()
        line.heartbeat()
        for topic, sent in [("accept", True), ("reject", True), ("accept", False), ("accept", True)]:
            line.verdict(topic, sent=sent)
        bridge.join()
        assert line.confirmed["plc-1"].number == 4
    assert plc.opened == ["1-1", "1-4"]
    assert plc.logged == []
    assert re.fullmatch(r"no heartbeat for 3\.\d s", said[0])


def test_the_recipe_shown_is_a_recipe(tmp_path: Path) -> None:
    """Who copies it gets no error about it."""
    (shown,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    source = '[source]\nkind = "synthetic"\nwidth = 64\nheight = 64\n'
    (tmp_path / "line.toml").write_text(f'line = "pcb"\nbundle = "b"\n{source}{shown}')
    recipe, _ = read_recipe(tmp_path / "line.toml")
    assert recipe.publish.confirm == ("plc-1",)


def test_the_messages_shown_are_messages() -> None:
    """Who sends what is shown is answered."""
    shown = re.findall(r"`(\{\"(?:ask|answer)\".*?\})`", TEXT)
    kinds = [json.loads(text) for text in shown]
    questions = [question_from(text.encode()) for text, kind in zip(shown, kinds, strict=True) if "ask" in kind]
    answers = [answer_from(text.encode()) for text, kind in zip(shown, kinds, strict=True) if "answer" in kind]
    assert [type(question).__name__ for question in questions] == ["Replay", "Confirm", "Which"]
    assert [type(answer) for answer in answers] == [ConfirmedLast, Replayed]
