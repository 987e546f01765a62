"""The list of metrics keeps Prometheus' rules, and its page says what it says."""

import re
from pathlib import Path

import pytest

from fluxhero.metrics import metrics_page
from fluxhero.metrics.families import FAMILIES, MEASURED, SERVICE, Family, Kind, family_of

REPOSITORY = Path(__file__).parents[2]
# What may tell series apart without their number growing with the ledger.
LABELS = {
    "mode", "basis", "reason", "kind", "outcome", "window", "quantile", "strategy", "limit", "state",
    "broker", "status", "order_type", "event", "table", "check", "severity", "job_name", "version",
    "method", "route", "status_class", "urgency", "standing",
}  # fmt: skip


@pytest.mark.parametrize("family", [pytest.param(one, id=one.name) for one in FAMILIES])
def test_a_metric_keeps_the_rules(family: Family) -> None:
    assert re.fullmatch(r"trading_[a-z]+(_[a-z]+)*", family.name)
    assert family.name.endswith("_total") == (family.kind is Kind.COUNTER)
    assert not re.search(r"_(percent|pct|ms|millis|minutes|hours|days|kb|mb)(_|$)", family.name)
    assert not family.name.endswith(("_bucket", "_sum", "_count", "_info_info"))
    assert set(family.labels) <= LABELS
    assert len(set(family.labels)) == len(family.labels)
    assert re.match(r"[A-Z1]", family.help)
    assert family.help.endswith(".")
    assert family_of(family.name) is family
    if family.kind is Kind.HISTOGRAM:
        assert family_of(f"{family.name}_bucket") is family
    else:
        assert family_of(f"{family.name}_bucket") is None


def test_a_name_is_given_once() -> None:
    assert (
        len({family.name for family in FAMILIES}) == len(FAMILIES) == len(MEASURED) + len(SERVICE)
    )


def test_metrics_md_is_the_generated_one() -> None:
    written = (REPOSITORY / "docs" / "metrics.md").read_text("utf-8")
    assert written == metrics_page.render(), (
        "run `python -m fluxhero.metrics.metrics_page` and commit docs/metrics.md"
    )


def test_the_page_has_every_metric_once() -> None:
    page = metrics_page.render()
    rows = re.findall(r"^\| `(trading_\w+)` \| (.+) \|$", page, re.M)
    assert [name for name, _ in rows] == [family.name for family in FAMILIES]
    for (_, cells), family in zip(rows, FAMILIES, strict=True):
        kind, *rest = cells.split(" | ")
        assert kind == ("summary" if "quantile" in family.labels else family.kind)
        assert family.help in rest
        assert not family.formula or family.formula in rest
        assert not family.source or family.source in rest


def test_the_guide_names_only_metrics_that_there_are() -> None:
    for name in re.findall(r"\btrading_\w+\b", metrics_page.render()):
        assert family_of(name), f"docs/metrics.md names {name}, which is no metric"


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("trading_equity_usd", "account currency"),
        ("trading_profit_usd_total", "account currency"),
        ("trading_drawdown_ratio", "fraction, 1 is 100 %"),
        ("trading_snapshot_timestamp_seconds", "Unix time, seconds"),
        ("trading_holding_seconds", "seconds"),
        ("trading_archive_bytes", "bytes"),
        ("trading_orders_total", "number"),
    ],
)
def test_the_unit_of_a_metric(name: str, unit: str) -> None:
    family = family_of(name)
    assert family
    assert metrics_page.unit_of(family) == unit
