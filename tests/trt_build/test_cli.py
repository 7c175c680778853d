"""The command line `trt-build`: what a person types, and what it answers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.bundle import read_bundle
from trt_build.__main__ import main
from trt_build.dataset import read_pairs

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def trt_build(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command; returns its status, output and errors."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["trt-build", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def test_help_names_every_step(trt_build: Run) -> None:
    """A newcomer sees the way from pairs to a bundle."""
    status, out, _ = trt_build("--help")
    assert status == 0
    assert all(step in out for step in ("render", "train", "evaluate", "export", "pack", "verify"))


def test_a_draft_is_packed_verified_and_evaluated(
    trt_build: Run,
    pcb_bundle: Path,
    pcb_pairs: Path,
    tmp_path: Path,
) -> None:
    """The three commands that need no torch, one after another."""
    bundle, notice = tmp_path / "bundle", tmp_path / "NOTICE"
    notice.write_text("made here")
    packing = ("pack", pcb_bundle, bundle, "--pairs", pcb_pairs, "--golden", pcb_pairs, "--notice", notice)
    assert trt_build(*packing)[0] == 0
    assert read_bundle(bundle).manifest.notice == "made here"

    status, out, _ = trt_build("verify", bundle)
    assert (status, "all 4 golden frames are reproduced" in out) == (0, True)

    status, out, _ = trt_build("evaluate", bundle, pcb_pairs, "--worst", tmp_path / "worst")
    assert (status, "map33" in out, "pictures in" in out) == (0, True, True)


def test_rendered_boards_are_pairs(trt_build: Run, tmp_path: Path) -> None:
    """A first model needs no pictures of one's own."""
    assert trt_build("render", tmp_path / "pairs", "--boards", 2, "--size", 160)[0] == 0
    assert [pair.board.shape for pair in read_pairs(tmp_path / "pairs")] == [(160, 160)] * 2


@pytest.mark.parametrize("command", ["verify", "evaluate"])
def test_a_wrong_path_is_one_clear_line(trt_build: Run, tmp_path: Path, command: str) -> None:
    """No traceback for what the person can mend."""
    arguments = [command, tmp_path / "nowhere", *([tmp_path] if command == "evaluate" else [])]
    status, _, err = trt_build(*arguments)
    assert status == 1
    assert err.startswith("trt-build: ")
    assert err.count("\n") == 1


def test_too_few_pairs_are_refused(trt_build: Run, pcb_bundle: Path, pcb_pairs: Path, tmp_path: Path) -> None:
    """Thresholds are not chosen on what the model was trained with."""
    for end in ("_temp.png", "_test.png", ".txt"):
        (tmp_path / f"00{end}").write_bytes((pcb_pairs / f"00{end}").read_bytes())
    status, _, err = trt_build("pack", pcb_bundle, tmp_path / "bundle", "--pairs", tmp_path)
    assert (status, "none was kept from training" in err) == (1, True)


@pytest.mark.parametrize("command", ["train", "export"])
def test_a_missing_library_names_the_extra(
    trt_build: Run,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    command: str,
) -> None:
    """On a machine without torch the person reads what to install."""
    for name in [name for name in sys.modules if name.startswith("trt_build.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    status, _, err = trt_build(command, tmp_path / "a", tmp_path / "b")
    assert (status, err) == (1, "trt-build: torch is not installed: pip install 'linejudge[build]'\n")


def test_packing_and_verifying_need_no_torch() -> None:
    """Bundles are packed on machines that never train."""
    heavy = {"torch", "onnx", "onnxruntime", "openvino"}
    script = f"import sys, trt_build.__main__; print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout == "\n"
