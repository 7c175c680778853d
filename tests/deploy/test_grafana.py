"""The dashboard and its provisioning, held against Grafana's schema and against the rest of deploy/."""

import json
import re
from itertools import combinations
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry

from edge.monitoring.metrics import Metrics

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "linejudge.json").read_text())
PANELS = {panel["title"]: panel for panel in DASHBOARD["panels"]}
PROVISIONING = DEPLOY / "grafana" / "provisioning"


def test_grafana_knows_every_field_of_the_dashboard():
    """Nothing in the file is misspelt: all of it survives a pass through Grafana's own model."""
    pytest.importorskip("grafana_foundation_sdk", reason="needs grafana-foundation-sdk and Python 3.11")
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    known = json.loads(JSONEncoder().encode(Dashboard.from_json(DASHBOARD)))
    assert list(lost(DASHBOARD, known)) == []


def lost(given, kept, path="dashboard"):
    """The paths of what is in `given` but not, or not alike, in `kept`."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            yield from lost(value, kept.get(key), f"{path}.{key}")
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for i, value in enumerate(given):
            yield from lost(value, kept[i], f"{path}[{i}]")
    elif given != kept:
        yield path


def test_no_panel_lies_on_another():
    """Every panel can be seen: they lie side by side within the 24 columns, and have ids of their own."""
    places = [panel["gridPos"] for panel in PANELS.values()]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for a, b in combinations(places, 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        below = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or below, (a, b)
    assert len({panel["id"] for panel in PANELS.values()}) == len(DASHBOARD["panels"])


@pytest.mark.parametrize("title", PANELS)
def test_a_panel_shows_the_chosen_line_only(title):
    """With two lines in Prometheus a panel never mixes them."""
    for target in PANELS[title]["targets"]:
        selectors = re.findall(r"(?:linejudge|line:)[\w:]+(\{[^}]*\})?", target["expr"])
        assert selectors
        assert all('line="$line"' in selector for selector in selectors), target["expr"]


def test_each_metric_of_a_line_has_a_panel():
    """Nothing is measured that nobody sees. Why an engine fell back stands among the engines left out."""
    registry = CollectorRegistry()
    Metrics(registry, "a", slots=8)
    names = {metric.name for metric in registry.collect()}
    asked = " ".join(target["expr"] for panel in PANELS.values() for target in panel["targets"])
    unseen = {name for name in names if not re.search(rf"{name}(?:_total|_bucket|_info)?\{{", asked)}
    assert unseen == {"linejudge_engine_fallback"}


def test_a_panel_that_an_alert_names_is_there():
    """An alert that says which panel to look at names one that exists."""
    groups = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())["groups"]
    alerts = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    named = {name for alert in alerts for name in re.findall(r'"([^"]+)"', alert["annotations"]["description"])}
    assert named
    assert named <= set(PANELS)


def test_panels_ask_the_source_that_is_provisioned():
    """The dashboard finds its data without a click."""
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text())["datasources"]
    asked = {json.dumps(panel["datasource"], sort_keys=True) for panel in PANELS.values()}
    asked |= {json.dumps(t["datasource"], sort_keys=True) for p in PANELS.values() for t in p["targets"]}
    assert asked == {json.dumps({"type": source["type"], "uid": source["uid"]}, sort_keys=True)}


def test_graphs_are_as_fine_as_the_scrapes():
    """Grafana's smallest rate window fits the interval at which Prometheus really scrapes."""
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text())["datasources"]
    scrapes = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["global"]
    assert source["jsonData"]["timeInterval"] == scrapes["scrape_interval"]


def test_dashboards_are_read_from_where_compose_puts_them():
    """The folder that Grafana is told to read is the one that is mounted."""
    (provider,) = yaml.safe_load((PROVISIONING / "dashboards" / "linejudge.yml").read_text())["providers"]
    volumes = yaml.safe_load((DEPLOY / "docker" / "compose.yml").read_text())["services"]["grafana"]["volumes"]
    assert f"../grafana/dashboards:{provider['options']['path']}:ro" in volumes
