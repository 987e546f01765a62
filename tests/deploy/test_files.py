"""The deployment's files ask for metrics that there are, by labels that they have, and say what to do."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from config.settings import Settings
from fluxhero.integrity.rules import Severity
from fluxhero.metrics.breaker import Level
from fluxhero.metrics.facts import Strategy
from fluxhero.metrics.families import FAMILIES, Kind, family_of
from fluxhero.metrics.limit_rules import LIMIT_RULES
from fluxhero.metrics.limits import label_of, limit_samples
from tests.deploy.grafana_model import Dashboard, Query
from tests.deploy.promql import groupings, selectors

REPOSITORY = Path(__file__).parents[2]
DEPLOY = REPOSITORY / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
DASHBOARD = DEPLOY / "grafana" / "fluxhero.json"
# What Prometheus adds to every series or makes itself, and what the node exporter has.
GIVEN_LABELS = {"instance", "job"}
FOREIGN = {"up"}
OF_THE_MACHINE = {"node_filesystem_avail_bytes", "node_filesystem_size_bytes"}
_VARIABLE = re.compile(r"\$(?:labels\.(\w+)|value)")


@dataclass(frozen=True)
class Asked:
    """An expression and where it is."""

    where: str
    expression: str


def yaml(name: str) -> Any:
    return YAML(typ="safe").load((PROMETHEUS / name).read_text(encoding="utf-8"))


@cache
def rules(name: str = "rules.yml") -> list[dict[str, Any]]:
    return [rule for group in yaml(name)["groups"] for rule in group["rules"]]


def alerts(name: str = "rules.yml") -> list[dict[str, Any]]:
    return [rule for rule in rules(name) if "alert" in rule]


def dashboard() -> Dashboard:
    return Dashboard.model_validate_json(DASHBOARD.read_text(encoding="utf-8"))


def asked() -> Iterator[Asked]:
    for rule in rules():
        yield Asked(rule.get("alert") or rule["record"], rule["expr"])
    for panel in dashboard().panels:
        for target in panel.targets:
            yield Asked(panel.title, target.expr)
    for variable in dashboard().templating.list:
        if isinstance(variable.query, Query):
            asks = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable.query.query)
            assert asks is not None
            yield Asked(variable.name, f"max by ({asks[2]}) ({asks[1]})")


def test_every_metric_and_label_asked_for_exists() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for one in asked():
        labels = set(GIVEN_LABELS)
        found = list(selectors(one.expression))
        assert found or one.where in recorded, one
        for selector in found:
            if selector.metric in FOREIGN | recorded:
                continue
            mine = labels_of(selector.metric)
            assert {label for label, _, _ in selector.matchers} <= mine, one
            labels |= mine
            if selector.metric.endswith("_total") and "increase" not in one.expression:
                assert selector.metric == "trading_archive_rows_total", (
                    "a counter is asked for its growth"
                )
        assert groupings(one.expression) <= labels, one


def labels_of(series: str) -> set[str]:
    """The labels of a series of ours; it must be one of a family."""
    family = family_of(series)
    assert family is not None, f"{series} is in no family"
    part = series != family.name
    assert part == (family.kind is Kind.HISTOGRAM), f"{series} has no samples by itself"
    return {*family.labels, *GIVEN_LABELS, *(["le"] if part else [])}


def values_of(settings: Settings) -> dict[str, set[str]]:
    """Label → its values, of those that are bounded."""
    limits = {dict(one.labels).get("limit", "") for one in limit_samples([], settings)}
    return {
        "limit": limits | {label_of(rule.name) for rule in LIMIT_RULES},
        "state": {level.value for level in Level},
        "severity": {severity.value for severity in Severity},
        "strategy": {strategy.value for strategy in Strategy},
        "window": {"1d", "7d", "30d", "all"},
        "job_name": flow_names(),
    }


def flow_names() -> set[str]:
    """Names of the flows; the one that takes snapshots is the metrics' own."""
    sources = (path.read_text(encoding="utf-8") for path in (REPOSITORY / "flows").glob("*.py"))
    return {
        name for source in sources for name in re.findall(r'@flow\(\s*name="([^"]+)"', source)
    } | {"snapshot-metrics"}


def test_every_value_asked_for_may_occur(settings: Settings) -> None:
    values = values_of(settings)
    for one in asked():
        for selector in selectors(one.expression):
            for label, operator, value in selector.matchers:
                for part in value.split("|") if "~" in operator else [value]:
                    known = values.get(label)
                    assert known is None or any(re.fullmatch(part, k) for k in known), (one, part)


@pytest.mark.parametrize("name", ["rules.yml", "machine.yml"])
def test_every_alert_says_what_to_do(name: str) -> None:
    names = [rule["alert"] for rule in alerts(name)]
    assert len(names) == len(set(names))
    for rule in alerts(name):
        assert rule["alert"].startswith("FluxHero")
        assert rule["labels"] == {"severity": rule["labels"]["severity"]}
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert set(rule["annotations"]) == {"summary", "description"}
        text = rule["annotations"]["description"]
        assert len(text) > 60, f"{rule['alert']} does not say what to do"
        shown = set(_VARIABLE.findall(" ".join(rule["annotations"].values()))) - {""}
        assert shown <= groupings(rule["expr"]) | GIVEN_LABELS, rule["alert"]


def test_critical_waits_for_nothing_and_levels_exclude_each_other() -> None:
    every = [*alerts(), *alerts("machine.yml")]
    by_name = {rule["alert"]: rule for rule in every}
    for rule in every:
        if rule["labels"]["severity"] == "critical":
            assert "for" not in rule, f"{rule['alert']} is critical and waits"
    for critical in (name for name in by_name if name.endswith("Critical")):
        warning = by_name.get(critical.replace("Critical", "Warning"))
        if warning:
            inner = " ".join(by_name[critical]["expr"].split())
            assert inner in " ".join(warning["expr"].split()).partition("unless")[2], critical


def test_the_machine_is_asked_for_what_the_node_exporter_has() -> None:
    for rule in rules("machine.yml"):
        assert {one.metric for one in selectors(rule["expr"])} == OF_THE_MACHINE


def test_prometheus_scrapes_where_the_service_listens_and_holds_no_secret(
    settings: Settings,
) -> None:
    config = yaml("prometheus.yml")
    (scrape,) = config["scrape_configs"]
    address = f"{settings.api_host}:{settings.api_port}"
    assert scrape["static_configs"] == [{"targets": [address]}]
    assert "metrics_path" not in scrape, "the default is the one that is served"
    assert scrape["authorization"] == {"credentials_file": "fluxhero-token"}
    assert [(PROMETHEUS / name).exists() for name in config["rule_files"]] == [True]


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    board = dashboard()
    ids = [panel.id for panel in board.panels]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in board.panels:
        place = panel.gridPos
        assert place.x + place.w <= 24
        cells = {
            (x, y)
            for x in range(place.x, place.x + place.w)
            for y in range(place.y, place.y + place.h)
        }
        assert not cells & taken, f"{panel.title} lies on another panel"
        taken |= cells
        assert (panel.type == "row") == (not panel.targets)
        references = [target.refId for target in panel.targets]
        assert len(references) == len(set(references))
    names = {variable.name for variable in board.templating.list}
    text = json.dumps(board.model_dump(mode="json"))
    assert set(re.findall(r"\$\{?([a-z]+)", text)) == names


def test_the_dashboard_shows_what_matters() -> None:
    shown = {
        family.name
        for panel in dashboard().panels
        for target in panel.targets
        for one in selectors(target.expr)
        if (family := family_of(one.metric))
    }
    wanted = {"equity_usd", "drawdown_ratio", "limit_ratio", "breaker_state", "limit_breached"}
    wanted |= {"order_fill_latency_window_seconds", "orders_total", "archive_lag_seconds"}
    wanted |= {"findings_open", "job_last_run_success", "snapshot_timestamp_seconds"}
    assert {f"trading_{name}" for name in wanted} <= shown <= {family.name for family in FAMILIES}


def test_the_guide_names_the_files_there_are() -> None:
    text = (DEPLOY / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"[\w-]+\.(?:yml|json)\b", text))
    folders = (DEPLOY / "prometheus", DEPLOY / "grafana")  # the others are in docs/scaling.md
    there = {path.name for folder in folders for path in folder.iterdir()}
    assert named - {"alertmanager.yml"} == there
