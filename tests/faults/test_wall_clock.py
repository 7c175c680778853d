"""The wall clock is set back and forward under a line: it judges on, and no part_id comes twice."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lines import write_recipe
from numbered import EXACTLY, number_named, write_parts
from watched import Watched, kill

SHIM = Path(__file__).parents[1] / "support" / "wall_clock.c"
HOUR_S, YEAR_S = 3600, 366 * 86_400


@pytest.fixture(scope="module")
def shift(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file with the seconds by which the line's wall clock is wrong."""
    path = tmp_path_factory.mktemp("clock") / "shift"
    path.write_bytes(bytes(8))
    return path


@pytest.fixture(scope="module")
def line(shift: Path, tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> Iterator[Watched]:
    """A line whose wall clock the tests set."""
    if shutil.which("gcc") is None:
        pytest.skip("what sets the clock has to be compiled, and gcc is not installed")
    library = shift.with_name("wall_clock.so")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, SHIM, "-ldl"], check=True)
    folder = tmp_path_factory.mktemp("line")
    source = write_parts(folder) + "\nfps = 40\nrepeat = true"
    recipe = write_recipe(folder, tiny_bundle, source, EXACTLY + "[timing]\ndeadline_ms = 500\n")
    preload = {"LD_PRELOAD": str(library), "WALL_CLOCK": str(shift)}
    with Watched(recipe, lambda _, name: number_named(name), **preload) as found:
        yield found


@pytest.mark.built
@pytest.mark.parametrize(
    "shift_s", [-HOUR_S, YEAR_S, -YEAR_S], ids=["an hour back", "a year on", "a year back"]
)
def test_a_wall_clock_that_is_set_changes_nothing(accounted: Watched, shift: Path, shift_s: int) -> None:
    """Deadlines go on, and a capture that starts then gets an epoch of its own."""
    before, seen = {epoch for epoch, _ in list(accounted.captured)}, len(accounted.ear.verdicts)
    hour = accounted.ear.verdicts[-1].body["captured_at"][:13]
    _set(shift, shift_s)
    accounted.until(more(accounted, seen + 40), "verdicts go on")
    assert accounted.ear.verdicts[-1].body["captured_at"][:13] != hour
    kill(accounted.processes()["capture"])
    accounted.until(lambda: {epoch for epoch, _ in list(accounted.captured)} - before, "a new epoch begins")
    (new,) = {epoch for epoch, _ in list(accounted.captured)} - before
    assert new > max(before)
    assert any(verdict.is_judged for verdict in accounted.ear.verdicts[seen : seen + 40])


def _set(shift: Path, seconds: int) -> None:
    with shift.open("r+b") as file:
        file.write(seconds.to_bytes(8, "little", signed=True))


def more(line: Watched, count: int) -> Callable[[], bool]:
    return lambda: len(line.ear.verdicts) >= count
