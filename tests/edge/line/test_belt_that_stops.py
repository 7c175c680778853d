"""A line with an encoder whose belt stops: parts that wait for the engine are judged, and the line can end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from encoder_board import EncoderBoard
from lines import Subscriber, line_name, running, stop, until, write_boards, write_recipe

from edge.messages import Verdict

PARTS, DELAY_MS = 14, 150
ENGINE = '[engine]\nkind = "constant"\nlanes = 1\nspare = false\n[timing]\nslots = 32\n'


#: How often it is tried, since parts are late or without a position where the machine has no time for the line.
TRIES = 3


def test_parts_that_wait_when_the_belt_stops_are_judged(
    tmp_path: Path, constant_bundle: Callable[..., Path], textured: np.ndarray
) -> None:
    """Though the engine needs longer for all of them than a part had to the ejector before the belt stopped."""
    bundle, found = constant_bundle(delay_ms=DELAY_MS), list[Counter[str]]()
    while len(found) < TRIES:
        folder = tmp_path / f"{len(found)}"
        folder.mkdir()
        due_ns, verdicts = stopped(folder, bundle, textured)
        found.append(Counter(verdict.reason for verdict in verdicts))
        if found[-1] == {"clean": PARTS}:
            assert verdicts[-1].published_ns > due_ns + (PARTS * 5) * 1_000_000
            return
    raise AssertionError(f"in no try were all parts judged: {found}")


def stopped(folder: Path, bundle: Path, picture: np.ndarray) -> tuple[int, list[Verdict]]:
    """Run a line whose belt stops with all parts on it: when the first was due before, and the verdicts."""
    boards = {f"{number:02}": True for number in range(PARTS)}
    source = write_boards(folder, boards, picture) + "\nfps = 200"
    with EncoderBoard() as board, Subscriber(folder) as subscriber:
        recipe = write_recipe(folder, bundle, source, ENGINE + board.section())
        with running(recipe) as line:
            until(lambda: line.ledger().captured == PARTS, "all parts are on the belt", line)
            due_ns = line.ledger().part(0).deadline_ns
            board.stop()
            with suppress(AssertionError):
                until(lambda: len(subscriber.verdicts) == PARTS, "all verdicts are heard", patience_s=15)
            board.run()  # parts that were skipped become late only now
            status, said = line.wait()
            assert status == 0, said
            until(lambda: len(subscriber.verdicts) == PARTS, "all verdicts are heard")
    return due_ns, [verdict for _, verdict in subscriber.verdicts]


def test_a_line_whose_belt_stands_stops_with_all_its_verdicts(
    tmp_path: Path, constant_bundle: Callable[..., Path], textured: np.ndarray
) -> None:
    """Its parts have not reached the second camera, and never will: there they are missing."""
    source = write_boards(tmp_path, {"0": True, "1": True}, textured)
    nothing = source.replace("frames/*", "nothing/*") + "\nwatch = true"
    (tmp_path / "nothing").mkdir()
    with EncoderBoard() as board, Subscriber(tmp_path) as subscriber:
        (recipe := tmp_path / "recipe.toml").write_text(
            f'line = "{line_name(tmp_path)}"\nbundle = "{constant_bundle()}"\n{ENGINE}[metrics]\nport = 0\n'
            f'[publish]\nendpoints = ["ipc://{tmp_path}/verdicts.ipc"]\n{board.section()}'
            f'[[camera]]\nname = "top"\n[camera.source]\n{source}\n'
            f'[[camera]]\nname = "side"\nat = 1000\nwindow = 20\n[camera.source]\n{nothing}\n'
        )
        with running(recipe) as line:
            until(lambda: line.ledger("top").captured == 2, "both parts are on the belt", line)
            board.stop()
            said = stop(line)
        until(lambda: len(subscriber.verdicts) == 2, "both verdicts are heard")
    assert "without a verdict" not in said
    for _, verdict in subscriber.verdicts:
        assert isinstance(verdict.looks, list)
        assert [look.reason for look in verdict.looks][1:] == ["missing"]
