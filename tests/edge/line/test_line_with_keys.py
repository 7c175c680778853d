"""A real line with keys: who is allowed hears and asks, and nobody else does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from lines import running, stop, until
from ports import free_port

from edge.keys import make_pair


def edge(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "edge", *words], capture_output=True, text=True, timeout=60)


def test_only_who_has_an_allowed_key_watches_a_line(tmp_path: Path, endless: Callable[..., Path]) -> None:
    """From its first verdict on, so both the verdicts and the replays ask for the key."""
    for name in ("line", "plc-1", "stranger"):
        make_pair(tmp_path / name, name)
        if name != "line":
            (tmp_path / name / "line.key").write_bytes((tmp_path / "line/line.key").read_bytes())
    (tmp_path / "line/allowed").mkdir()
    (tmp_path / "line/allowed/plc-1.key").write_bytes((tmp_path / "plc-1/plc-1.key").read_bytes())
    endpoint, replay = (f"tcp://127.0.0.1:{free_port()}" for _ in range(2))
    recipe = endless()
    text = recipe.read_text().replace(f"ipc://{tmp_path}/verdicts.ipc", endpoint)
    keys = f'replay = "{replay}"\nkeys = "line"'
    recipe.write_text(text.replace("[publish]", f"[publish]\n{keys}"))

    def watch(name: str, rows: int) -> list[str]:
        command = ["watch", endpoint, "--replay", replay, "--from", "start", "--keys", str(tmp_path / name)]
        process = subprocess.Popen(
            [sys.executable, "-m", "edge", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout
        told = [process.stdout.readline() for _ in range(rows)]
        process.kill()
        process.communicate()
        return told

    with running(recipe) as line:
        until(lambda: line.ledger().published >= 10, "verdicts are published", line)
        assert [row.split()[0] for row in watch("plc-1", 2)] == ["1", "2"]
        (row,) = watch("stranger", 1)
        assert row.startswith("no heartbeat for")
        stop(line)


def test_a_line_without_its_keys_does_not_start(tmp_path: Path, endless: Callable[..., Path]) -> None:
    """Rather than without keys, and the check says what to do."""
    recipe = endless()
    recipe.write_text(recipe.read_text().replace("[publish]", '[publish]\nkeys = "nowhere"'))
    for command in ("run", "check"):
        done = edge(command, str(recipe))
        assert done.returncode == 1
        assert "nowhere/line.key_secret: cannot read the key" in done.stderr
        assert "edge keys new line --folder" in done.stderr
