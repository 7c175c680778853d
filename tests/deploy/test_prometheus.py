"""The scrape configuration and the alerts, held against Prometheus' own tools."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from edge.messages import UNKNOWN_REASONS

FOLDER = Path(__file__).parents[2] / "deploy" / "prometheus"
RULES = yaml.safe_load((FOLDER / "rules.yml").read_text())
ALERTS = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"] if "alert" in rule}

needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="no promtool: apt-get install prometheus"
)


def promtool(*arguments: str) -> None:
    done = subprocess.run(["promtool", *arguments], cwd=FOLDER, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_prometheus_accepts_the_configuration():
    """Prometheus starts with the configuration and rules as they are shipped."""
    promtool("check", "config", "prometheus.yml")


@needs_promtool
@pytest.mark.timeout(600)  # promtool computes for minutes where cores are slow
def test_alerts_fire_when_they_should_and_only_then():
    """Each alert fires on the line that is in trouble and stays quiet on the one that is not."""
    promtool("test", "rules", "rules_test.yml")


def test_every_alert_is_seen_firing_in_a_case():
    """No alert is shipped that was never seen to fire."""
    seen = set(re.findall(r'alertname="(\w+)"', (FOLDER / "rules_test.yml").read_text()))
    assert seen == set(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_tells_what_is_wrong_and_what_to_do(name):
    """Whoever is called at night reads which line it is, how urgent, and what to do."""
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in ("warning", "critical")
    assert re.search(r"\$labels\.(line|instance)", alert["annotations"]["summary"])
    assert len(alert["annotations"]["description"].split()) > 25


def test_every_unknown_reason_has_one_alert():
    """Parts that become unknown in numbers are never passed over in silence, whatever the reason."""
    found = [re.search(r'reason=~"([^"]+)"', alert["expr"]) for alert in ALERTS.values()]
    named = [reason for match in found if match for reason in match.group(1).split("|")]
    assert sorted(named) == sorted(UNKNOWN_REASONS)
