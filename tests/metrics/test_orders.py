"""Orders and their latency against numpy, and everything a broker may get wrong."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxhero.engine import connect
from fluxhero.ledger.schema import ORDERS as TABLE
from fluxhero.metrics.families import ORDERS, Kind, family_of
from fluxhero.metrics.orders import BOUNDS, order_samples
from fluxhero.metrics.samples import Sample
from tests.samples import ledger_order

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with connect() as made:
        yield made


def measured(
    connection: duckdb.DuckDBPyConnection, *rows: dict[str, Any], now: datetime = NOW
) -> dict[tuple[str, ...], Sample]:
    """(Name without prefix, label values …) → sample; each once, with the labels of its family."""
    orders = pa.Table.from_pylist(list(rows), schema=TABLE.arrow)
    connection.register("given", orders)
    connection.execute("CREATE OR REPLACE TEMP TABLE orders AS FROM given")
    found = {}
    for one in order_samples(connection, now):
        family = family_of(one.name)
        assert family in ORDERS
        assert family is not None
        le = ("le",) if one.name.endswith("_bucket") and family.kind is Kind.HISTOGRAM else ()
        assert tuple(name for name, _ in one.labels) == (*family.labels, *le)
        key = (one.name.removeprefix("trading_"), *(value for _, value in one.labels))
        assert key not in found
        found[key] = one
    return found


def order(number: int, /, seconds: float | None = None, **changes: Any) -> dict[str, Any]:
    """An order of a year ago, filled after so many seconds."""
    sent = NOW - timedelta(days=365) + timedelta(microseconds=number)
    filled = None if seconds is None else sent + timedelta(microseconds=round(seconds * 1e6))
    times = {"submitted_at": sent, "filled_at": filled}
    return ledger_order(number, broker="alpaca", order_type="market", **times) | changes


def test_orders_are_counted_by_what_became_of_them(connection: duckdb.DuckDBPyConnection) -> None:
    statuses = [
        *("filled", "filled", "cancelled", "expired", "rejected", "replaced"),
        *("new", "done_for_day", "partially_filled", " Held", "weird\n", ""),
    ]
    rows = [order(number, status=status) for number, status in enumerate(statuses)]
    rows.append(order(99, mode="paper", broker=None))
    found = measured(connection, *rows)
    totals = {key[1:]: int(one.value) for key, one in found.items() if key[0] == "orders_total"}
    working = {key[3]: int(one.value) for key, one in found.items() if key[0] == "orders_working"}
    ended = {"filled": 2, "cancelled": 1, "expired": 1, "rejected": 1, "replaced": 1}
    assert totals == {("live", "alpaca", status): n for status, n in ended.items()} | {
        ("paper", "unknown", "filled"): 1
    }
    assert working == {"new": 1, "done_for_day": 1, "partially_filled": 1, "held": 1, "other": 2}


def test_no_number_of_orders_is_too_many_to_count(connection: duckdb.DuckDBPyConnection) -> None:
    found = measured(connection, *(order(number, status="filled") for number in range(1_501)))
    assert found["orders_total", "live", "alpaca", "filled"].value == 1_501


def test_without_times_there_is_no_series(connection: duckdb.DuckDBPyConnection) -> None:
    found = measured(connection, order(1), order(2, submitted_at=None, filled_at=NOW))
    assert {key[0] for key in found} == {"orders_total"}
    assert measured(connection) == {}


def test_labels_are_bounded_whatever_a_source_writes(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    hostile = ['x"} 1\n', "Interactive Brokers (UK)", "É" * 99, "", "  ", "a" * 99]
    rows = [order(n, 0.1, broker=name, order_type=name) for n, name in enumerate(hostile)]
    rows += [order(n, 0.1, broker=f"b{n}", order_type=f"t{n}") for n in range(100, 400)]
    rows += [order(500, 0.1, status="s" * 99)]
    found = measured(connection, *rows)
    brokers = {key[2] for key in found if key[0] == "orders_total"}
    assert brokers >= {"x_1_", "interactive_brokers_uk_", "_", "unknown", "a" * 40, "other"}
    assert len(brokers) == 11, "ten of them, first come first named"
    assert {key[2] for key in found if key[0] == "order_fill_latency_window_samples"} == {
        "market",
        "other",
    }
    assert found["orders_working", "live", "other", "other"].value == 1
    assert len(found) < 900
    later = measured(connection, *rows, *[order(n, broker="z") for n in range(600, 900)])
    assert {key[2] for key in later if key[0] == "orders_total"} == brokers


def test_a_resting_limit_order_does_not_spoil_the_market_orders(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    rows = [order(n, 0.2) for n in range(100)]
    rows += [order(200 + n, 7200.0, order_type="Limit ") for n in range(3)]
    found = measured(connection, *rows)
    name = "order_fill_latency_window_seconds"
    assert found[name, "live", "market", "all", "0.99"].value == 0.2
    assert found[name, "live", "limit", "all", "0.5"].value == 7200
    assert (
        found["order_fill_latency_seconds_bucket", "live", "alpaca", "limit", "3600.0"].value == 0
    )
    assert found["order_fill_latency_seconds_bucket", "live", "alpaca", "limit", "+Inf"].value == 3


@pytest.mark.parametrize(
    ("count", "shown"),
    [(1, 2), (19, 2), (20, 3), (99, 3), (100, 4)],
)
def test_a_quantile_of_too_few_is_not_shown(
    connection: duckdb.DuckDBPyConnection, count: int, shown: int
) -> None:
    found = measured(connection, *[order(n, n / 10) for n in range(count)])
    quantiles = [one for key, one in found.items() if key[0] == "order_fill_latency_window_seconds"]
    assert len(quantiles) == shown
    assert {one.count for one in quantiles} == {count}
    assert {one.window for one in quantiles} == {"all"}
    assert found["order_fill_latency_window_samples", "live", "market", "all"].value == count


def test_windows_reach_back_from_now(connection: duckdb.DuckDBPyConnection) -> None:
    ages = [-SECOND, 0 * SECOND, timedelta(days=1), timedelta(days=7) - SECOND, timedelta(days=30)]
    rows = [
        order(n, submitted_at=NOW - age - SECOND, filled_at=NOW - age) for n, age in enumerate(ages)
    ]
    found = measured(connection, *rows)
    name = "order_fill_latency_window_samples"
    counts = {key[3]: one.value for key, one in found.items() if key[0] == name}
    assert counts == {"1d": 1, "7d": 3, "30d": 3, "all": 5}, "(now − window, now]"
    zone = datetime.fromisoformat("2026-03-31T08:00:00-04:00")
    assert measured(connection, *rows, now=zone) == found


def test_what_cannot_be_true_is_counted_apart(connection: duckdb.DuckDBPyConnection) -> None:
    sent = NOW - timedelta(days=3)
    rows = [
        order(1, submitted_at=sent, acknowledged_at=sent - SECOND, filled_at=sent - SECOND / 2),
        order(2, submitted_at=sent, acknowledged_at=sent, filled_at=sent + SECOND),
        order(3, mode="paper", submitted_at=sent, acknowledged_at=sent - 9 * SECOND),
    ]
    found = measured(connection, *rows)
    negative = {key[1:]: one.value for key, one in found.items() if "negative" in key[0]}
    assert negative == {("live", "ack"): 1, ("live", "fill"): 1, ("paper", "ack"): 1}
    assert found["order_ack_latency_seconds_count", "live", "alpaca", "market"].value == 1
    assert found["order_ack_latency_seconds_bucket", "live", "alpaca", "market", "0.005"].value == 1
    assert not [key for key in found if key[1] == "paper" and "latency_seconds" in key[0]]


latencies = st.lists(
    st.one_of(
        st.integers(-5_000_000, 10_000_000_000),
        st.sampled_from([round(bound * 1e6) + n for bound in BOUNDS for n in (-1, 0, 1)]),
    ),
    min_size=1,
    max_size=250,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(latencies)
def test_quantiles_and_buckets_are_numpys(values: list[int]) -> None:
    with connect(threads=1) as connection:
        rows = [order(n, value / 1e6) for n, value in enumerate(values)]
        found = measured(connection, *rows)
    good = np.array([value for value in values if value >= 0]) / 1e6
    labels = ("live", "market", "all")
    negative = found["order_latency_negative_total", "live", "fill"].value
    assert negative == len(values) - len(good)
    for quantile in ("0.5", "0.9", "0.95", "0.99"):
        one = found.get(("order_fill_latency_window_seconds", *labels, quantile))
        if one is not None:
            assert one.value == pytest.approx(np.quantile(good, float(quantile)), rel=1e-12)
    if not len(good):
        assert not [key for key in found if "latency_seconds" in key[0]]
        return
    of = ("live", "alpaca", "market")
    for bound in BOUNDS:
        bucket = found["order_fill_latency_seconds_bucket", *of, str(bound)]
        assert bucket.value == np.count_nonzero(good <= bound)
    assert found["order_fill_latency_seconds_sum", *of].value == pytest.approx(good.sum())
