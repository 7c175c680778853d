"""A real Prometheus with the shipped rules watches a real line: each query of rules and panels is answered."""

import json
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from bundles import KINDS, comparator_manifest
from fake_gpu.nvml import FakeNvml
from lines import RunningLine, running, write_recipe
from ports import free_port

from edge.bundle import write_manifest

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = [
    rule
    for group in yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())["groups"]
    for rule in group["rules"]
]
PANELS = json.loads((DEPLOY / "grafana" / "dashboards" / "linejudge.json").read_text())["panels"]
SELECTOR = re.compile(r"(?<![\w:])(?:linejudge_\w+|up)\b(?!:)(?:\{[^}]*\})?")
ONLY_IN_TROUBLE = {"line:linejudge_scene:moved"}
ONLY_WITH_MASTERS = {"line:linejudge_registration_error_pixels:p50_5m"}  # the line here has none
ONLY_WITH_A_MODEL = "linejudge_engine_left_out"  # a constant has one engine only

pytestmark = pytest.mark.skipif(
    not shutil.which("prometheus"), reason="no Prometheus: apt-get install prometheus"
)


def eventually(ask: Callable[[], Any], what: str, within_s: float = 60) -> Any:
    """The first answer that is not empty."""
    end = time.monotonic() + within_s
    while not (answer := ask()):
        assert time.monotonic() < end, f"{what}: nothing within {within_s} s"
        time.sleep(0.2)  # between two questions; what is waited for is the answer
    return answer


class Prometheus:
    """A server with the shipped configuration that scrapes one line every second."""

    def __init__(self, folder: Path, metrics: int) -> None:
        self.folder, self.port = folder, free_port()
        config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(DEPLOY / "prometheus" / "rules.yml")]
        config["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{metrics}"]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))

    def __enter__(self) -> "Prometheus":
        with open(self.folder / "prometheus.log", "w") as log:
            self.process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={self.folder}/prometheus.yml",
                    f"--storage.tsdb.path={self.folder}/data",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                ],
                stderr=log,
            )
        return self

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        self.process.wait(30)

    def get(self, path: str, **arguments: str) -> Any:
        """The data that the API answers with."""
        address = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(arguments)}"
        with urllib.request.urlopen(address, timeout=10) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> list[Any]:
        return self.get("query", query=expression)["result"]


@pytest.fixture(scope="module")
def port() -> int:
    """The port of the line's metrics."""
    return free_port()


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory, nvml: FakeNvml, port: int) -> Iterator[RunningLine]:
    """A line on synthetic boards whose engine fails on every tenth part, on a machine with a GPU."""
    folder = tmp_path_factory.mktemp("line")
    (folder / "bundle").mkdir()
    metadata = {"score": 0.2, "fault": "simulated", "every": 10}
    write_manifest(
        folder / "bundle", comparator_manifest(KINDS, name="constant", method="constant", metadata=metadata)
    )
    source = 'kind = "synthetic"\nwidth = 128\nheight = 128\nfps = 50'
    recipe = write_recipe(folder, folder / "bundle", source)
    recipe.write_text(recipe.read_text().replace("port = 0", f"port = {port}"))
    with running(recipe, **nvml.environment) as line:
        yield line


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, line: RunningLine, port: int) -> Iterator[Prometheus]:
    """A Prometheus that has seen the line judge some parts."""
    folder = tmp_path_factory.mktemp("watched")
    with Prometheus(folder, port) as prometheus:

        def answers() -> bool:
            assert line.process.poll() is None, line.process.communicate()[1]
            assert prometheus.process.poll() is None, (folder / "prometheus.log").read_text()
            try:
                return bool(prometheus.query("line:linejudge_rejects:ratio5m"))
            except OSError:
                return False

        eventually(answers, "Prometheus and the line")
        yield prometheus


@pytest.mark.parametrize(
    "expression",
    [
        pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")
        for panel in PANELS
        for target in panel["targets"]
        if ONLY_WITH_A_MODEL not in target["expr"]
    ],
)
def test_a_panel_shows_data(watched, line, expression):
    """No panel of the dashboard stays empty while the line runs."""
    expression = expression.replace("$line", line.folder.name).replace("$__rate_interval", "5s")
    eventually(lambda: watched.query(expression), expression)


def test_the_line_can_be_chosen(watched, line):
    """The dashboard's list of lines has the running one."""
    assert watched.get("label/line/values", **{"match[]": "linejudge_slots"}) == [line.folder.name]


@pytest.mark.parametrize(
    "name", sorted({rule["record"] for rule in RULES if "record" in rule} - ONLY_IN_TROUBLE - ONLY_WITH_MASTERS)
)
def test_a_recording_records(watched, name):
    """Every recording rule that alerts use gives data."""
    eventually(lambda: watched.query(name), name)


@pytest.mark.parametrize("selector", sorted({s for r in RULES for s in SELECTOR.findall(r["expr"])}))
def test_what_rules_look_at_exists(watched, selector):
    """No rule waits for a metric, label or value that a line never has."""
    eventually(lambda: watched.query(selector), selector)


def test_prometheus_can_evaluate_every_rule(watched):
    """No rule fails on real data."""
    rules = [rule for group in watched.get("rules")["groups"] for rule in group["rules"]]
    assert len(rules) == len(RULES)
    assert {rule["name"]: rule.get("lastError", "") for rule in rules if rule["health"] != "ok"} == {}


def test_a_killed_stage_is_reported(watched, line):
    """When a stage dies on the real line, its alert fires, and names stage and line."""
    line.kill("infer")
    (alert,) = eventually(
        lambda: [
            alert
            for alert in watched.get("alerts")["alerts"]
            if alert["labels"]["alertname"] == "LinejudgeStageRestarting" and alert["state"] == "firing"
        ],
        "the alert",
    )
    assert alert["annotations"]["summary"].startswith(f"Stage infer of line {line.folder.name} ended")


def test_a_gpu_that_falls_off_the_bus_is_noticed(watched, nvml):
    """The values of a lost GPU end at once, and an alert can see that it is lost."""
    assert eventually(lambda: watched.query("linejudge_gpu_temperature_celsius"), "a temperature")
    nvml.tell(status=15)
    eventually(lambda: watched.query("linejudge_gpu_up == 0"), "the GPU is lost")
    assert watched.query("linejudge_gpu_temperature_celsius") == []
    nvml.tell()
    eventually(lambda: watched.query("linejudge_gpu_temperature_celsius"), "the GPU is back")


def test_a_line_that_is_gone_is_noticed(watched, line):
    """When the line stops answering, Prometheus notices."""
    line.process.terminate()
    eventually(lambda: watched.query('up{job="linejudge"} == 0'), "the line is down")
