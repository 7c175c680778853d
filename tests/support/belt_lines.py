"""Recipes of lines with several cameras at a simulated belt, and what their verdicts say against the truth."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from lines import line_name

from edge.messages import Verdict

#: Camera and place behind the first one, in ms or ticks; between two boards are 60.
CAMERAS = {"top": 0, "left": 120, "right": 120, "under": 260}


def belt_recipe(
    folder: Path,
    bundle: Path,
    *,
    parts: int,
    fault: float = 0.0,
    by_encoder: str = "",
    more: str = "",
    **keys: float,
) -> Path:
    """A recipe of four cameras with a share `fault` of lost, doubled and spurious triggers at each.

    `by_encoder` has the keys of a simulated encoder. `keys` are further keys of each camera's source.
    """
    said = [
        f'line = "{line_name(folder)}"\nbundle = "{bundle}"\n',
        '[engine]\nkind = "constant"\n[timing]\nslots = 64\n[metrics]\nport = 0\n',
        f'[publish]\nendpoints = ["ipc://{folder}/verdicts.ipc"]\nheartbeat_ms = 200\n{more}\n',
    ]
    if by_encoder:
        said.append(f'[belt]\nby = "encoder"\n[belt.encoder]\nkind = "simulated"\n{by_encoder}\n')
    own = "".join(f"{key} = {value}\n" for key, value in keys.items())
    for name, at in CAMERAS.items():
        window = f"at = {at}\nwindow = 15\n" if name != "top" else ""
        said.append(
            f'[[camera]]\nname = "{name}"\n{window}[camera.source]\nkind = "belt"\nwidth = 64\nheight = 64\n'
            f"pitch = 60\nparts = {parts}\njitter = 3\nlost = {fault}\ndoubled = {fault}\nspurious = {fault}\n"
            f'views = 2\ntruth = "{folder}/{name}.jsonl"\n{own}'
        )
    (path := folder / "recipe.toml").write_text("".join(said))
    return path


def truth_of(folder: Path) -> dict[tuple[str, int], int | None]:
    """The board that each camera showed at each time of capture; None for the empty belt."""
    told: dict[tuple[str, int], int | None] = {}
    for name in CAMERAS:
        for line in (folder / f"{name}.jsonl").read_text().splitlines():
            one = json.loads(line)
            told[name, one["captured_ns"]] = one["board"]
    return told


def boards_in(verdict: Verdict, truth: dict[tuple[str, int], int | None]) -> set[int | None]:
    """The boards that the looks of a verdict show, by the truth of the belt."""
    assert isinstance(verdict.looks, list)
    return {truth[look.camera, look.captured_ns] for look in verdict.looks if look.captured_ns is not None}


def misattributed(verdicts: Iterable[Verdict], folder: Path) -> list[str]:
    """The verdicts whose looks show different boards, or a board and the empty belt."""
    truth = truth_of(folder)
    return [verdict.part_id for verdict in verdicts if len(boards_in(verdict, truth)) > 1]
