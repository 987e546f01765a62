"""How trades ended, and how long they were held: against numpy, and at the edges."""

import random
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest

from fluxhero.metrics.samples import Sample
from fluxhero.metrics.trades import trade_samples
from tests.metrics.tables import START, Row, assert_fit, hours, tables, trade, values

NOW = START + timedelta(days=40)


def measured(*rows: Row) -> list[Sample]:
    with tables(trades=rows) as connection:
        samples = trade_samples(connection, NOW)
    assert_fit(samples)
    return samples


def held(hours_held: float, closed_hours_ago: float = 1.0, **changes: object) -> Row:
    leave = NOW - timedelta(hours=closed_hours_ago)
    return trade(1, leave, entry_time=leave - timedelta(hours=hours_held), **changes)


def test_profit_and_loss_are_two_counters_to_the_cent() -> None:
    rows = [trade("0.1") for _ in range(1_000)]
    rows += [trade("-0.7"), trade("-0.1"), trade(0), trade(None)]
    rows += [trade(50, status="cancelled"), trade(70, status="open"), trade(90, status="odd")]
    samples = measured(*rows, trade(None, mode="paper"))
    assert values(samples, "trades_closed_total") == {
        ("live", "win"): 1_000,
        ("live", "loss"): 2,
        ("live", "flat"): 1,
        ("live", "unknown"): 1,
        ("paper", "win"): 0,
        ("paper", "loss"): 0,
        ("paper", "flat"): 0,
        ("paper", "unknown"): 1,
    }
    assert values(samples, "trades_cancelled_total") == {("live",): 1, ("paper",): 0}
    assert values(samples, "profit_usd_total") == {("live",): 100.0, ("paper",): 0}
    assert values(samples, "loss_usd_total") == {("live",): 0.8, ("paper",): 0}
    assert values(samples, "win_ratio") == {("live",): 1_000 / 1_003}
    assert values(samples, "fees_usd_total") == {}, "no source has any"
    assert measured() == []


def test_fees_are_those_that_are_known() -> None:
    fees = [trade(1, fees=Decimal("0.35")), trade(1, fees=None)]
    fees += [
        trade(1, fees=Decimal(1), status="cancelled"),
        trade(1, fees=Decimal(8), status="open"),
    ]
    assert values(measured(*fees), "fees_usd_total") == {("live",): 1.35}


def test_quantiles_are_those_of_numpy_over_trades_closed_in_the_window() -> None:
    rng = random.Random(3)
    spans = [(rng.expovariate(1 / 30), rng.uniform(-2, 1_500)) for _ in range(600)]
    samples = measured(*(held(length, ago) for length, ago in spans))
    found = values(samples, "holding_window_seconds")
    counts = values(samples, "holding_window_samples")
    for window, most in {"1d": 24, "7d": 168, "30d": 720, "all": 10**6}.items():
        inside = [length for length, ago in spans if window == "all" or 0 <= ago < most]
        assert counts["live", window] == len(inside)
        for quantile in (0.5, 0.9, 0.95, 0.99):
            if len(inside) < {0.95: 20, 0.99: 100}.get(quantile, 1):
                assert ("live", window, str(quantile)) not in found
                continue
            expected = float(np.quantile(inside, quantile)) * 3600
            assert found["live", window, str(quantile)] == pytest.approx(expected, rel=1e-7)
    exact = [one for one in samples if one.name == "trading_holding_window_seconds"]
    assert {(one.window, one.count) for one in exact} == {
        (window, count) for (_, window), count in counts.items()
    }


def test_a_window_ends_now_and_leaves_out_its_own_beginning() -> None:
    edges = [held(1, 0), held(1, 24), held(1, 23.9999), held(1, -0.0001)]
    counts = values(measured(*edges), "holding_window_samples")
    assert counts == {("live", "1d"): 2, ("live", "7d"): 3, ("live", "30d"): 3, ("live", "all"): 4}


@pytest.mark.parametrize("number", [19, 20, 99, 100])
def test_a_tail_of_few_trades_is_not_shown(number: int) -> None:
    shown = {key[2] for key in values(measured(*[held(1)] * number), "holding_window_seconds")}
    assert ("0.95" in shown, "0.99" in shown) == (number >= 20, number >= 100)


def test_what_lies_in_which_bucket() -> None:
    minutes = [0, 1, 1.0001, 5, 60, 60 * 24 * 30, 60 * 24 * 30.1]
    undated = trade(1, None, updated_at=hours(5))
    unclear = [held(-1), undated, held(3, status="open"), held(3, status="cancelled")]
    samples = measured(*(held(m / 60) for m in minutes), *unclear, trade(1, None, mode="paper"))
    buckets = values(samples, "holding_seconds_bucket")
    assert {bound: count for (_, bound), count in buckets.items()} == {
        "60.0": 2,
        "300.0": 4,
        "900.0": 4,
        "3600.0": 5,
        "14400.0": 5,
        "86400.0": 5,
        "172800.0": 5,
        "604800.0": 5,
        "2592000.0": 6,
        "+Inf": 7,
    }
    assert values(samples, "holding_seconds_count") == {("live",): 7}
    total = values(samples, "holding_seconds_sum")[("live",)]
    assert total == pytest.approx(sum(minutes) * 60, rel=1e-9)
