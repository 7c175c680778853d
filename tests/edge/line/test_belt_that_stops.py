"""A line with an encoder whose belt stops: parts that wait for the engine are judged, and the line can end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from encoder_board import EncoderBoard
from lines import Subscriber, running, until, write_boards, write_recipe

from edge.belt.track import SPEED_NS

PARTS, DELAY_MS = 14, 150
ENGINE = '[engine]\nkind = "constant"\nlanes = 1\nspare = false\n[timing]\nslots = 32\n'


def test_parts_that_wait_when_the_belt_stops_are_judged(
    tmp_path: Path, constant_bundle: Callable[..., Path], textured: np.ndarray
) -> None:
    """Though the engine needs longer for all of them than a part had to the ejector before the belt stopped."""
    boards = {f"{number:02}": True for number in range(PARTS)}
    source = write_boards(tmp_path, boards, textured) + "\nfps = 200"
    with EncoderBoard() as board, Subscriber(tmp_path) as subscriber:
        recipe = write_recipe(tmp_path, constant_bundle(delay_ms=DELAY_MS), source, ENGINE + board.section())
        with running(recipe) as line:
            until(lambda: line.ledger().captured == PARTS, "all parts are on the belt", line)
            stopped_ns = board.stop()
            due_ns = line.ledger().part(0).deadline_ns
            if due_ns - 2 * DELAY_MS * 1_000_000 < stopped_ns + SPEED_NS:
                pytest.skip(
                    "this machine needed too long for the parts: the first had no time when they stopped"
                )
            status, said = line.wait()
            assert status == 0, said
            until(lambda: len(subscriber.verdicts) == PARTS, "all verdicts are heard")
    verdicts = [verdict for _, verdict in subscriber.verdicts]
    assert {verdict.reason for verdict in verdicts} == {"clean"}
    assert verdicts[-1].published_ns > due_ns + (PARTS * 5) * 1_000_000
