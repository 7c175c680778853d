"""`edge check` is content with what `edge run` takes, and refuses what that would refuse, in the same words."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
import zmq
from lines import Subscriber, judged, running, stop, until, write_boards, write_recipe
from nobody import USER, of_nobody
from ports import free_port

from edge.bundle import describe, read_bundle, write_manifest
from edge.manifest import File


def edge(command: str, recipe: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "XDG_STATE_HOME": str(recipe.parent / "state"), **more}
    words = [sys.executable, "-m", "edge", command, str(recipe)]
    return subprocess.run(words, capture_output=True, text=True, env=environment, timeout=60)


@pytest.fixture
def recipe(tmp_path: Path, tiny_bundle: Path, textured: np.ndarray) -> Path:
    """Of a line that judges one good board and ends."""
    return write_recipe(tmp_path, tiny_bundle, write_boards(tmp_path, {"0": True}, textured))


def change(recipe: Path, old: str, new: str) -> None:
    text = recipe.read_text()
    assert old in text
    recipe.write_text(text.replace(old, new))


def test_one_master_may_serve_every_view(recipe: Path) -> None:
    """`masters` without {view} is a path like any other."""
    change(recipe, "masters/{view}.png", "masters/a.png")
    assert edge("check", recipe).returncode == 0
    done = edge("run", recipe)
    assert done.returncode == 0, done.stderr
    assert "1 parts: {'pass': 1}" in done.stderr


def test_a_view_may_stand_twice_in_the_path_of_masters(recipe: Path) -> None:
    """Each view's masters may have a folder of their own."""
    masters = recipe.parent / "masters"
    (masters / "a").mkdir()
    (masters / "a.png").rename(masters / "a/a.png")
    change(recipe, "masters/{view}.png", "masters/{view}/{view}.png")
    done = edge("check", recipe)
    assert done.returncode == 0, done.stderr
    assert "of 1 views fit: 'a'" in done.stdout
    assert "1 parts: {'pass': 1}" in edge("run", recipe).stderr


@contextlib.contextmanager
def metrics_port_taken(recipe: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        change(recipe, "port = 0", f"port = {taken.getsockname()[1]}")
        yield "metrics.port: cannot serve metrics on 127.0.0.1:"


@contextlib.contextmanager
def endpoint_taken(recipe: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        change(recipe, f"ipc://{recipe.parent}/verdicts.ipc", f"tcp://127.0.0.1:{taken.getsockname()[1]}")
        yield "publish.endpoints: cannot bind tcp://127.0.0.1:"


@contextlib.contextmanager
def ipc_taken(recipe: Path) -> Iterator[str]:
    with zmq.Context() as context, context.socket(zmq.PUB) as taken:
        taken.bind(f"ipc://{recipe.parent}/verdicts.ipc")
        yield f"publish.endpoints: another process listens on ipc://{recipe.parent}/verdicts.ipc: stop it"


@contextlib.contextmanager
def ipc_nowhere(recipe: Path) -> Iterator[str]:
    change(recipe, f"ipc://{recipe.parent}/", f"ipc://{recipe.parent}/nowhere/")
    yield "nowhere/verdicts.ipc.lock: No such file or directory"


@contextlib.contextmanager
def more_slots_than_memory(recipe: Path) -> Iterator[str]:
    change(recipe, "width = 64\nheight = 64", "width = 16384\nheight = 16384")
    recipe.write_text(recipe.read_text() + "[timing]\nslots = 1024\n")
    yield "/dev/shm"


@contextlib.contextmanager
def port_that_is_none(recipe: Path) -> Iterator[str]:
    change(recipe, f"ipc://{recipe.parent}/verdicts.ipc", "tcp://127.0.0.1:99999")
    yield "[publish] endpoints: 'tcp://127.0.0.1:99999' has a port above 65535"


@contextlib.contextmanager
def another_master_of_another_size(recipe: Path) -> Iterator[str]:
    cv2.imwrite(str(recipe.parent / "masters/b.png"), np.zeros((32, 32), np.uint8))
    yield "masters/b.png: expected a master of 64x64 gray, like the frames of [source], found 32x32 gray"


@contextlib.contextmanager
def epoch_that_is_no_number(recipe: Path) -> Iterator[str]:
    (recipe.parent / "state/linejudge").mkdir(parents=True)
    name = recipe.read_text().split('"')[1]
    (recipe.parent / f"state/linejudge/{name}.epoch").write_text("seven")
    yield f"{name}.epoch: cannot count up the epoch: "


@contextlib.contextmanager
def journal_nowhere(recipe: Path) -> Iterator[str]:
    recipe.write_text(recipe.read_text() + '[journal]\nfolder = "/proc/journals"\n')
    yield "/proc/journals: cannot write the journal there: No such file or directory"


REFUSED = (
    metrics_port_taken,
    endpoint_taken,
    ipc_taken,
    ipc_nowhere,
    more_slots_than_memory,
    port_that_is_none,
    another_master_of_another_size,
    epoch_that_is_no_number,
    journal_nowhere,
)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.__name__)
def test_check_refuses_what_run_refuses(
    recipe: Path, case: Callable[[Path], contextlib.AbstractContextManager[str]]
) -> None:
    """Whoever has checked a recipe is not surprised by its run."""
    with case(recipe) as said:
        for command in ("check", "run"):
            done = edge(command, recipe)
            assert done.returncode == 1, command
            assert said in done.stderr, command
            assert done.stderr.splitlines()[-1].startswith("edge: "), command


def test_a_recipe_in_a_folder_of_another_coding_is_told(recipe: Path) -> None:
    """The stages could not be told where it is."""
    folder = Path(os.fsdecode(os.fsencode(recipe.parent) + b"/M\xfcller"))
    folder.mkdir()
    moved = recipe.rename(folder / recipe.name)
    for command in ("check", "run"):
        done = edge(command, moved)
        assert done.returncode == 1
        assert r"M\xfcller: move it to one whose name is UTF-8" in done.stderr


def test_check_leaves_a_line_that_runs_alone(endless: Callable[..., Path], tmp_path: Path) -> None:
    """It says that the line runs, takes nothing from it, and is content."""
    recipe = endless()
    change(recipe, "port = 0", f"port = {free_port()}")
    with Subscriber(tmp_path) as subscriber, running(recipe) as line:
        until(judged(subscriber, 1), "a part is judged", line)
        done = edge("check", recipe)
        assert done.returncode == 0, done.stderr
        assert "the line runs now" in done.stdout
        until(judged(subscriber, 5), "it goes on", line)
        stop(line)


def test_check_writes_no_truth(tmp_path: Path, constant_bundle: Callable[..., Path]) -> None:
    """The truth of the boards that were shown last is kept."""
    source = 'kind = "synthetic"\nwidth = 64\nheight = 64\nparts = 3\ntruth = "truth.jsonl"'
    recipe = write_recipe(tmp_path, constant_bundle(), source)
    change(recipe, "masters = ", "# masters = ") if "masters = " in recipe.read_text() else None
    (tmp_path / "truth.jsonl").write_text("kept")
    edge("check", recipe)
    assert (tmp_path / "truth.jsonl").read_text() == "kept"


def test_epochs_need_a_place_that_is_kept(recipe: Path) -> None:
    """A user without a home folder, as in a container, is told what to set; no folder is guessed."""
    for command in ("check", "run"):
        done = of_nobody("-m", "edge", command, str(recipe))
        assert done.returncode == 1
        assert done.stderr.startswith(f"edge: the user {USER} has no home folder")
        assert "set STATE_DIRECTORY" in done.stderr


def test_a_user_without_a_home_folder_runs_lines() -> None:
    """Nothing but the epochs needs one: no library either."""
    done = of_nobody("-m", "edge", "demo", "--parts", "3", "--json")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_not_judged_and_what_is_cut_is_said(tmp_path: Path, score_bundle: Path) -> None:
    """A mask or tiles that nobody meant are seen before a part passes; tiles that do not fit are an error."""
    noise = np.random.default_rng(0).integers(40, 200, (112, 160), np.uint8)
    mask = np.zeros((64, 64), np.uint8)
    mask[:32, :16] = 255
    cv2.imwrite(str(tmp_path / "ignore.png"), mask)
    bundle = Path(shutil.copytree(score_bundle, tmp_path / "bundle"))
    shutil.copy(tmp_path / "ignore.png", bundle / "ignore.png")
    manifest = read_bundle(score_bundle).manifest
    ignored = File(**describe(bundle, "ignore.png"))
    write_manifest(bundle, msgspec.structs.replace(manifest, ignored=ignored))
    recipe = write_recipe(tmp_path, bundle, write_boards(tmp_path, {"0": True}, noise))
    change(recipe, "[source]", "tiles = [3, 2]\n[rule.thresholds]\nanomaly = 0.3\n[source]")
    done = edge("check", recipe)
    assert done.returncode == 0, done.stderr
    assert "3x2 of 64x64, 160x112 in all" in done.stdout
    (share,) = re.findall(r"ignore +([\d.]+) % of the picture is not judged", done.stdout)
    assert 12.5 <= float(share) < 14
    change(recipe, "tiles = [3, 2]", "tiles = [3, 3]")
    done = edge("check", recipe)
    assert done.returncode == 1
    assert (
        "tiles: [3, 3]: of 64x64 pixels each are 160x160 in all, larger than this judge's crop" in done.stderr
    )
