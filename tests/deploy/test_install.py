"""`install.sh` on this machine, in a mount namespace: what it writes to /etc and /opt is thrown away."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

try:
    import tomllib
except ImportError:  # before Python 3.11
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = ("cuda", "gpu", "onnxruntime")


def wheel(folder: Path, name: str, version: str, metadata: str = "", module: str = "") -> None:
    """Write a wheel with one module, which says where it comes from."""
    package, module = name.replace("-", "_"), module or name.replace("-", "_")
    info = f"{package}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{package}-{version}-py3-none-any.whl", "w") as made:
        made.writestr(f"{module}/__init__.py", f"VERSION = 'wheel {version}'\n")
        made.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{metadata}"
        )
        made.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        made.writestr(f"{info}/RECORD", "")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `pip wheel '.[gpu,onnxruntime]'` makes it: the project's requirements, without content."""
    folder = tmp_path_factory.mktemp("wheels")
    extras = PROJECT["optional-dependencies"]
    lines = [f"Requires-Dist: {needed}\n" for needed in PROJECT["dependencies"]]
    for extra in EXTRAS:
        lines += [f"Provides-Extra: {extra}\n"]
        lines += [f'Requires-Dist: {needed}; extra == "{extra}"\n' for needed in extras[extra]]
    wheel(folder, "linejudge", PROJECT["version"], "".join(lines), module="edge")
    every = [*PROJECT["dependencies"], *(needed for extra in EXTRAS for needed in extras[extra])]
    for needed in every:
        name, version = re.match(r"([\w-]+)(?:\[\w+\])?(?:[=>]=([\w.]+))?", needed).groups()
        if name != "linejudge":
            wheel(folder, name, version)
    return folder


SANDBOX = """
set -e
mount -t tmpfs tmpfs "$over"
throw_away() {
    mkdir -p "$over$1/upper" "$over$1/work" "$1"
    mount -t overlay overlay -o "lowerdir=$1,upperdir=$over$1/upper,workdir=$over$1/work" "$1"
}
throw_away /etc && throw_away /opt && throw_away /usr/local/bin
rm -rf /opt/linejudge /etc/linejudge
"""

#: A Jetson's mark, and the packages of the system's Python.
JETSON = """
touch /etc/nv_tegra_release
python3 -m venv --without-pip --system-site-packages /opt/probe
packages=$(/opt/probe/bin/python -c 'import site; print(site.getsitepackages()[-1])')
throw_away "$packages"
rm -rf "$packages"/*linejudge* "$packages"/tensorrt*
"""
#: JetPack's TensorRT, which is one of them.
TENSORRT = """
mkdir "$packages/tensorrt" "$packages/tensorrt-10.3.0.dist-info"
echo "VERSION = 'of JetPack'" > "$packages/tensorrt/__init__.py"
printf 'Metadata-Version: 2.1\\nName: tensorrt\\n' > "$packages/tensorrt-10.3.0.dist-info/METADATA"
echo 'Version: 10.3.0' >> "$packages/tensorrt-10.3.0.dist-info/METADATA"
"""
SAY = "cd / && /opt/linejudge/bin/python -c 'import {0}; print(\"{0}\", {0}.VERSION)' || echo no {0}\n"
ALL = "".join(SAY.format(name) for name in ("edge", "pycuda", "tensorrt"))


@pytest.fixture
def sandbox(tmp_path: Path):
    """Runs a script as root where nothing of this machine changes; skips the test where that cannot be."""
    over = tmp_path / "over"
    over.mkdir()
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "over": str(over),
    }

    def run(script: str) -> subprocess.CompletedProcess[str]:
        words = ["unshare", "--mount", "sh", "-c", SANDBOX + script]
        # In the project's folder, as a user would; its `edge` must not be taken for the installed one.
        return subprocess.run(words, cwd=ROOT, env=environment, text=True, capture_output=True)

    if os.geteuid() != 0 or run("useradd --help >/dev/null").returncode:
        pytest.skip("needs root, useradd, and mounts of overlay in a namespace")
    return run


def install(wheels: Path, *options: str) -> str:
    return " ".join(["sh", shlex.quote(f"{ROOT}/deploy/install.sh"), *options, shlex.quote(str(wheels)), "\n"])


@pytest.mark.built
def test_a_line_without_a_gpu(sandbox, wheels):
    """Without an option there are the command, all units and the groups that they name, and nothing of CUDA."""
    without = "sed -i /^render:/d /etc/group && sed -i /^render:/d /etc/gshadow\n"
    show = "ls /etc/systemd/system/linejudge* /etc/linejudge"
    links = "readlink /usr/local/bin/edge /opt/linejudge/demo-bundle"
    done = sandbox(f"{without}{install(wheels)}{ALL}{links} && {show} && id -nG linejudge")
    assert done.returncode == 0, done.stderr
    assert "edge wheel" in done.stdout
    assert "no pycuda\nno tensorrt\n/opt/linejudge/bin/edge\n/opt/linejudge/lib/" in done.stdout
    for unit in (ROOT / "deploy/systemd").glob("*.service"):
        assert f"/etc/systemd/system/{unit.name}\n" in done.stdout
    assert "sample.toml" in done.stdout
    assert {"linejudge", "video", "render", "dialout"} <= set(done.stdout.splitlines()[-1].split())


@pytest.mark.built
def test_a_line_on_an_x86_gpu(sandbox, wheels):
    """With --gpu the line's Python has pycuda and TensorRT, from the wheels; its user may see no others."""
    done = sandbox(install(wheels, "--gpu") + ALL + "cat /opt/linejudge/pyvenv.cfg")
    assert done.returncode == 0, done.stderr
    assert "edge wheel 0.1.0\npycuda wheel 2024.1\ntensorrt wheel 10.3\n" in done.stdout
    assert "include-system-site-packages = false" in done.stdout
    assert "trt-build build" in done.stdout


@pytest.mark.built
def test_a_line_on_a_jetson(sandbox, wheels):
    """With --gpu on a Jetson TensorRT is JetPack's, also where an environment without it was there before."""
    before = install(wheels) + "/opt/linejudge/bin/python -c 'import tensorrt' 2>/dev/null && exit 9\n"
    done = sandbox(
        JETSON + TENSORRT + before + install(wheels, "--gpu") + ALL + "ls /opt/linejudge/lib/*/site-packages"
    )
    assert done.returncode == 0, done.stderr
    assert "edge wheel 0.1.0\npycuda wheel 2024.1\ntensorrt of JetPack\n" in done.stdout
    assert "tensorrt" not in done.stdout.partition("tensorrt of JetPack\n")[2]


@pytest.mark.built
def test_a_jetson_without_tensorrt_is_told_what_to_install(sandbox, wheels):
    """Where JetPack's TensorRT is missing, none of PyPI takes its place."""
    done = sandbox(JETSON + install(wheels, "--gpu"))
    assert done.returncode == 1
    assert "No module named 'tensorrt'" in done.stderr
    assert (
        "install.sh: TensorRT cannot be used: see above; on a Jetson apt install python3-libnvinfer"
        in done.stderr
    )


@pytest.mark.parametrize("words", ["", "--gpu", "--cuda wheels"])
def test_who_forgets_the_wheels_is_told_the_usage(words):
    """The usage says how to make the folder of wheels, with and without a GPU."""
    done = subprocess.run(["sh", ROOT / "deploy/install.sh", *words.split()], text=True, capture_output=True)
    assert done.returncode == 2
    for shown in (".", "'.[gpu,onnxruntime]'", "'.[cuda,onnxruntime]'"):
        assert f"python3 -m pip wheel --wheel-dir WHEELS {shown}" in done.stderr
