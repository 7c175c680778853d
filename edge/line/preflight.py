"""Checks that the machine has what `edge run` needs: ports, sockets, folders and shared memory."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from ..errors import LineError
from ..journal.store import check_journal, journal_folder
from ..judges.judge import Judge, areas_of, by_camera
from ..monitoring.exposition import listening
from ..recipe import Recipe
from ..recorder.shelf import check_folder
from ..stages.sockets import Sockets
from .endpoint import claim
from .epoch import check_epoch
from .run_folder import SHARED_MEMORY, make_base, runs


def preflight(recipe: Recipe, judges: Sequence[Judge], state: Path) -> bool:
    """Return True if the line could start now. Return False, without a check, if the line runs already.

    Tries to open the ports, sockets and files that a run needs. If something is missing, raises the same
    LineError as the run would.
    """
    if runs(recipe.line):
        return False
    make_base()
    with Sockets(Path(), b"") as sockets:
        publish = recipe.publish
        gate = sockets.gate(Path(publish.keys)) if publish.keys else None
        for endpoint in publish.endpoints:
            claim(endpoint)
        sockets.publisher(publish.endpoints, gate)
        if publish.replay:
            claim(publish.replay, "publish.replay")
            sockets.replier(publish.replay, gate)
        if recipe.metrics.port:
            listening(recipe.metrics.host, recipe.metrics.port).close()
    check_epoch(state, recipe.line)
    if recipe.journal:
        check_journal(journal_folder(recipe.journal, state), recipe.line)
    if recipe.recorder:
        check_folder(Path(recipe.recorder.folder))
    _check_memory(recipe, judges)
    return True


def _check_memory(recipe: Recipe, judges: Sequence[Judge]) -> None:
    """Raise LineError if shared memory has too little free space for the slots of all cameras."""
    slot = 0
    for of_camera in by_camera(judges).values():
        areas = areas_of(of_camera)
        slot += areas["frame"] + sum(areas["tensors"]) + sum(areas["outputs"])
    needed = recipe.timing.slots * slot
    free = shutil.disk_usage(SHARED_MEMORY).free
    if needed > free:
        raise LineError(
            f"{SHARED_MEMORY}: has {free / 1e6:.0f} MB free, and {recipe.timing.slots} parts take "
            f"{needed / 1e6:.0f}: write fewer [timing] slots, or make it larger"
        )
