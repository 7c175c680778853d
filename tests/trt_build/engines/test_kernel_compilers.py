"""The kernel compiled by the CUDA of JetPack 6 and of JetPack 7: no warning, and all it holds in registers."""

from __future__ import annotations

import ctypes
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edge.errors import EngineError
from edge.image.kernel import SOURCE
from trt_build.engines import kernels

#: CUDA 12.6 is JetPack 6's. Its wheel of nvcc has no nvcc, so NVRTC compiles to PTX, and ptxas to machine code.
WHEELS = ("nvidia-cuda-nvrtc-cu12==12.6.85", "nvidia-cuda-nvcc-cu12==12.6.85", "nvidia-cuda-cuobjdump==13.5.37")

pytestmark = pytest.mark.built


@pytest.fixture(scope="module")
def nvidia(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with NVIDIA's compilers and `cuobjdump`, from their wheels."""
    folder = tmp_path_factory.mktemp("cuda")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run([*pip, "--target", folder, *WHEELS], capture_output=True, text=True)
    if "No matching distribution" in done.stderr:
        pytest.skip(f"NVIDIA's wheels are not to be had here: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    for tool in folder.glob("nvidia/*/bin/*"):
        tool.chmod(0o755)
    return folder / "nvidia"


def resources(nvidia: Path, compiled: Path) -> dict[str, dict[str, int]]:
    """What each architecture's kernel takes, by `cuobjdump`: registers and bytes of stack and local memory."""
    command = [nvidia / "cu13/bin/cuobjdump", "--dump-resource-usage", compiled]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    pieces = re.findall(r"arch = (sm_\d+).*?Function warp:\s+(.+?)\n", text, re.DOTALL)
    return {arch: {key: int(n) for key, n in re.findall(r"(\w+):(\d+)", used)} for arch, used in pieces}


def nvrtc(library: Path, *options: str) -> tuple[bytes, str]:
    """The kernel's PTX, and all that NVRTC says about its source."""
    compiler, program, size = ctypes.CDLL(str(library)), ctypes.c_void_p(), ctypes.c_size_t()
    assert not compiler.nvrtcCreateProgram(ctypes.byref(program), SOURCE.read_bytes(), b"", 0, None, None)
    given = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    compiler.nvrtcCompileProgram(program, len(options), given)
    said = []
    for what in ("ProgramLog", "PTX"):
        getattr(compiler, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
        text = ctypes.create_string_buffer(size.value)
        getattr(compiler, f"nvrtcGet{what}")(program, text)
        said.append(text.value)
    return said[1], said[0].decode()


def test_the_cuda_of_jetpack_6_has_nothing_to_say(nvidia: Path, tmp_path: Path) -> None:
    """CUDA 12.6 compiles the kernel for an Orin without a warning, and spills nothing."""
    library = nvidia / "cuda_nvrtc/lib/libnvrtc.so.12"
    ptx, said = nvrtc(library, "--gpu-architecture=compute_87", "-std=c++17")
    assert said == ""
    assert b"release 12.6" in ptx
    (tmp_path / "warp.ptx").write_bytes(ptx)
    ptxas = [nvidia / "cuda_nvcc/bin/ptxas", "-arch=sm_87", "-v", "-Werror", "--warn-on-spills"]
    done = subprocess.run(
        [*ptxas, tmp_path / "warp.ptx", "-o", tmp_path / "warp.cubin"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in done.stdout + done.stderr
    assert (tmp_path / "warp.cubin").stat().st_size > 0


def test_no_card_spills(nvidia: Path, tmp_path: Path) -> None:
    """The shipped file has code for an Orin; on every card the kernel holds in registers what it computes."""
    try:
        kernels.nvcc()
    except EngineError as error:
        pytest.skip(str(error))
    used = resources(nvidia, kernels.compile_kernels(tmp_path))
    assert {"sm_75", "sm_87", "sm_90"} <= set(used)
    for arch, takes in used.items():
        assert (takes["STACK"], takes["LOCAL"]) == (0, 0), arch
        assert 0 < takes["REG"] < 255, arch
