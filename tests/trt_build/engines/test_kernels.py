"""The kernels are compiled once for every card, without one, and found again by their source."""

from __future__ import annotations

import os
import re
import struct
import subprocess
from pathlib import Path

import pytest

from edge.errors import EngineError
from edge.image.kernel import fatbin
from trt_build.engines import kernels
from trt_build.engines.kernels import CAPABILITIES, compile_kernels


def nvcc() -> Path:
    try:
        return kernels.nvcc()
    except EngineError as error:
        pytest.skip(str(error))


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without CUDA, and a folder that is first on its path."""
    (tmp_path / "bin").mkdir()
    monkeypatch.delenv("CUDA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(kernels, "find_spec", lambda name: None)
    monkeypatch.setattr(kernels, "INSTALLED", tmp_path / "cuda")
    return tmp_path


PTX, ELF = 1, 2


def entries(fatbin: Path) -> set[tuple[int, int]]:
    """What lies in a file of kernels: kind and compute capability of each piece."""
    data = fatbin.read_bytes()
    _, _, header, size = struct.unpack_from("<IHHQ", data)
    found, at = set(), header
    while at < header + size:
        kind, _, own, length = struct.unpack_from("<HHIQ", data, at)
        found.add((kind, *struct.unpack_from("<I", data, at + 28)))
        at += own + length
    return found


def compiler(folder: Path, script: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nvcc").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "nvcc").chmod(0o755)


#: A variable of nvcc's own. A user's compiler may warn of more than the ones that these tests run with.
STRICT = {"NVCC_APPEND_FLAGS": "-Werror all-warnings"}


@pytest.mark.built
def test_a_warning_stops_no_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning of the compiler does not keep a user from the kernel; only these tests are strict."""
    nvcc()
    source = tmp_path / "warned.cu"
    source.write_text('extern "C" __global__ void warp(int *out) { int never_used; *out = 1; }\n')
    monkeypatch.setattr(kernels, "SOURCE", source)
    monkeypatch.setattr(kernels, "CAPABILITIES", (75,))
    assert compile_kernels(tmp_path / "engines").is_file()
    for name, flags in STRICT.items():
        monkeypatch.setenv(name, flags)
    with pytest.raises(EngineError, match="never_used"):
        compile_kernels(tmp_path / "strict")


@pytest.mark.built
def test_one_file_serves_every_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From Turing to Blackwell and both Jetsons, without a warning; a later card has PTX to start from."""
    for name, flags in STRICT.items():
        monkeypatch.setenv(name, flags)
    known = subprocess.run(
        [nvcc(), "--list-gpu-arch"], capture_output=True, text=True, check=True
    ).stdout.split()
    made = compile_kernels(tmp_path / "engines")
    assert fatbin(tmp_path / "engines") == made
    assert [path.name for path in made.parent.iterdir()] == [made.name]
    wanted = [number for number in CAPABILITIES if f"compute_{number}" in known]
    assert {75, 80, 86, 87, 89, 90} <= set(wanted)
    codes = entries(made)
    assert codes == {*((ELF, number) for number in wanted), (PTX, wanted[-1])}


def test_without_a_compiler_it_is_said_what_to_install(bare: Path) -> None:
    """A machine without CUDA's compiler is told where it was looked for."""
    with pytest.raises(EngineError, match=r"expected nvcc in .*: install a CUDA toolkit .* pip install"):
        compile_kernels(bare / "engines")


@pytest.mark.parametrize("place", ["CUDA_HOME", "path", "packages", "installed"])
def test_the_compiler_is_found_where_it_is(bare: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Where the toolkit says, on the path, among Python's packages, or where CUDA installs itself."""
    folders = {
        "CUDA_HOME": bare / "home/bin",
        "path": bare / "bin",
        "packages": bare / "nvidia/cu13/bin",
        "installed": bare / "cuda/bin",
    }

    class Spec:
        submodule_search_locations = (str(bare / "nvidia"),)

    monkeypatch.setenv("CUDA_HOME", str(bare / "home"))
    monkeypatch.setattr(kernels, "find_spec", lambda name: Spec)
    compiler(folders[place], "exit 0")
    assert kernels.nvcc() == folders[place] / "nvcc"


def test_a_compiler_that_fails_is_quoted(bare: Path) -> None:
    """Its own words say more than ours, and nothing is left that a line could load."""
    compiler(
        bare / "bin", 'case "$1" in --list*) echo compute_87;; *) echo "no host compiler" >&2; exit 1;; esac'
    )
    with pytest.raises(EngineError, match="no host compiler"):
        compile_kernels(bare / "engines")
    assert not os.listdir(bare / "engines")


def test_an_older_compiler_makes_what_it_knows(bare: Path) -> None:
    """The CUDA of a Jetson compiles for that Jetson, though it has not heard of later cards."""
    compiler(
        bare / "bin",
        'case "$1" in --list*) echo compute_80 compute_87 compute_90;;\n'
        '*) for word; do test "$before" = -o && echo "$@" > "$word"; before=$word; done;; esac; exit 0',
    )
    asked = compile_kernels(bare / "engines").read_text()
    assert "-Werror" not in asked
    assert re.findall(r"code=(\w+)", asked) == ["sm_80", "sm_87", "sm_90", "compute_90"]
