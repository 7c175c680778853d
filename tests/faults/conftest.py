"""The line that the tests of faults break. Its parts tell their number, and each test ends with the account."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from lines import write_recipe
from numbered import EXACTLY, number_named, write_parts
from watched import Watched

FPS = 40
#: What is added to the recipe behind its section [engine].
USUAL = "[timing]\ndeadline_ms = 500\n"


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> Iterator[Callable[..., Watched]]:
    """Starts a line and watches it; `more` and `publish` are added to its recipe. It ends with the file."""
    with ExitStack() as opened:

        def start(
            more: str = USUAL, bundle: Path = tiny_bundle, fps: float = FPS, publish: str = ""
        ) -> Watched:
            folder = tmp_path_factory.mktemp("line")
            source = write_parts(folder) + f"\nfps = {fps}\nrepeat = true"
            recipe = write_recipe(folder, bundle, source, EXACTLY + more)
            asked = "[publish]\n" + publish.format(folder=folder) + "\n"
            recipe.write_text(recipe.read_text().replace("[publish]\n", asked))
            return opened.enter_context(Watched(recipe, lambda _, name: number_named(name)))

        yield start


@pytest.fixture(scope="module")
def line(watch: Callable[..., Watched]) -> Watched:
    """A line that is well when the first test begins."""
    found = watch()
    found.await_well()
    return found


@pytest.fixture
def accounted(line: Watched) -> Iterator[Watched]:
    """The line for a test that breaks it: in the end it is well again, and no verdict is missing or wrong."""
    line.await_well()
    yield line
    line.await_well()
    found = line.account()
    assert found.captured > 0
    assert not found.faults, found
