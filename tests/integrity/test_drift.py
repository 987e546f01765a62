"""Drift: loud on a day unlike all others, quiet on calm histories and on the real data."""

import random
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from fluxhero.demo import write_demo_files
from fluxhero.integrity.drift import JUDGED_DAYS, RULES, check_drift, measure
from fluxhero.integrity.results import Outcome, Result
from fluxhero.integrity.rules import Severity
from tests import samples
from tests.house import House
from tests.integrity.reconciling import scope_of

TODAY = date(2025, 6, 2)
NOW = datetime.combine(TODAY, time(12), UTC)
DAYS = 60


def add_days(
    house: House, source: str, rng: random.Random, *, a_day: float, days: int = DAYS
) -> None:
    """Normal results and sizes, exponential holding times, a Poisson number of trades a day."""
    rows: list[dict[str, Any]] = []
    for back in range(days, -1, -1):
        moment, count = rng.expovariate(a_day), 0
        while moment < 1:  # arrivals within a day: their number is Poisson's
            closed = datetime.combine(TODAY - timedelta(days=back), time(), UTC)
            closed += timedelta(seconds=86_399 * moment)
            entry = round(rng.uniform(50, 150), 2)
            quantity = max(1, round(rng.gauss(100, 25)))
            rows.append(
                samples.ledger_trade(
                    trade_id=f"{source}:{back}:{count}",
                    source=source,
                    quantity=Decimal(quantity),
                    entry_price=Decimal(str(entry)),
                    exit_price=Decimal(str(round(entry * (1 + rng.gauss(0, 0.02)), 4))),
                    entry_time=closed - timedelta(seconds=60 + rng.expovariate(1 / 7200)),
                    exit_time=closed,
                    fees=Decimal(quantity) * Decimal("0.005"),
                )
            )
            moment, count = moment + rng.expovariate(a_day), count + 1
    samples.insert_duckdb(house.store, "trades", *rows)


def found(house: House, now: datetime = NOW) -> dict[str, Result]:
    bad = [r for r in check_drift(scope_of(house, now)) if r.outcome is not Outcome.PASSED]
    return {result.rule.name: result for result in bad}


def on(day: date) -> str:
    return f"exit_time::DATE = DATE '{day}'"


YESTERDAY = TODAY - timedelta(days=1)
FAULTS = {
    "drift.volume": "SET quantity = quantity * 10, fees = fees * 10",
    "drift.result": "SET exit_price = entry_price * 3",
    "drift.holding-time": "SET entry_time = entry_time - INTERVAL 40 DAY",
    "drift.fees": "SET fees = fees * 2",
}


def test_each_bot_s_day_unlike_all_others_is_found_by_its_rule_alone(duckdb_house: House) -> None:
    """Sixty days of about eight trades, half of them archived; the last day is planted."""
    house = duckdb_house
    for seed, name in enumerate(FAULTS):
        add_days(house, name, random.Random(seed), a_day=8)
    house.archive()
    assert found(house) == {}
    for name, change in FAULTS.items():
        house.execute(f"UPDATE trades {change} WHERE source = '{name}' AND {on(YESTERDAY)}")
    faults = found(house)
    assert set(faults) == set(FAULTS)
    for name, result in faults.items():
        assert (result.rule.severity, result.keys) == (Severity.WARNING, (str(YESTERDAY),))
        assert result.object == f"trades (live, {name})"
        (row,) = result.sample
        assert abs(row["z"]) > 6
        assert row["days"] == DAYS - 1
        assert row["smallest"] <= row["median"] <= row["largest"]
        assert f"the median of {row['days']} days before is" in result.observed
        with duckdb.connect(str(house.store), read_only=True) as db:
            days = db.execute(result.sql).fetchall()
        assert [day[-1] for day in days if day[2] == name][-1] == pytest.approx(row["value"])
    later = NOW + timedelta(days=JUDGED_DAYS + 1)
    assert found(house, later) == {}, "it does not nag for ever"


def test_a_bot_that_trades_in_a_loop(duckdb_house: House) -> None:
    calm = duckdb_house
    add_days(calm, "bot", random.Random(3), a_day=8)
    calm.execute(
        "INSERT INTO trades BY NAME SELECT trades.* REPLACE (trade_id || '-' || n AS trade_id) "
        f"FROM trades, range(12) r(n) WHERE {on(YESTERDAY - timedelta(days=1))}"
    )
    calm.execute(
        "INSERT INTO trades BY NAME SELECT trades.* REPLACE (trade_id || '-' || n AS trade_id) "
        f"FROM trades, range(9) r(n) WHERE {on(YESTERDAY)}"
    )
    faults = found(calm)
    assert set(faults) == {"drift.trades-per-day", "drift.volume"}
    both = (str(YESTERDAY - timedelta(days=1)), str(YESTERDAY))
    assert faults["drift.trades-per-day"].keys == both, "one bad day does not excuse the next"
    assert "2 days in all" in faults["drift.trades-per-day"].observed


def test_calm_histories_raise_hardly_any_alarm(duckdb_house: House) -> None:
    """Forty bots, from one trade in two days to thirty a day, each judged on seven days by five rules."""
    rng = random.Random(20_250_602)
    for bot in range(40):
        add_days(duckdb_house, f"bot-{bot:02d}", rng, a_day=(0.5, 1, 3, 8, 30)[bot % 5])
    results = check_drift(scope_of(duckdb_house, NOW))
    assert len(results) == 40 * len(RULES)
    assert sum(r.checked for r in results) > 1_000
    alarms = sum(r.count for r in results if r.outcome is Outcome.FAILED)
    assert alarms <= 1
    assert not [r for r in results if r.outcome is Outcome.ERRORED]


def test_today_is_not_complete_and_a_new_bot_has_no_history(duckdb_house: House) -> None:
    add_days(duckdb_house, "bot", random.Random(3), a_day=8)
    add_days(duckdb_house, "new", random.Random(4), a_day=8, days=9)
    duckdb_house.execute(
        f"UPDATE trades SET quantity = quantity * 50, fees = NULL WHERE source = 'bot' AND {on(TODAY)}"
    )
    duckdb_house.execute(
        f"UPDATE trades SET quantity = quantity * 50, fees = NULL WHERE source = 'new' AND {on(YESTERDAY)}"
    )
    assert found(duckdb_house) == {}
    assert set(found(duckdb_house, NOW + timedelta(days=1))) == {"drift.volume"}


def test_the_profile_counts_each_trade_once(house: House) -> None:
    for number in range(1, 5):
        closed = f"2025-03-0{number}T10:00:00Z" if house.kind == "sqlite" else None
        house.add(number, exit_time=closed or datetime(2025, 3, number, 10, tzinfo=UTC))
    before = measure(scope_of(house, NOW))
    house.archive(purge=False)
    both = measure(scope_of(house, NOW))
    house.archive()
    assert before.equals(both)
    assert before.equals(measure(scope_of(house, NOW)))
    first = before.to_pylist()[0]
    assert (first["day"], first["trades"], first["volume"]) == (date(2025, 3, 1), 1, 1002.5)
    assert first["win_ratio"] == 1
    assert first["median_return"] == pytest.approx(1.25 / 100.25)
    assert first["holding_seconds"] > 86_400 * 50


def test_what_cannot_be_told(house: House) -> None:
    results = check_drift(scope_of(house, NOW))
    assert {(r.outcome, r.checked) for r in results} == {(Outcome.PASSED, 0)}
    house.add(1, 2)
    house.archive()
    path = house.archive_dir / house.chain.manifests[0].file.path
    path.write_bytes(b"PAR1")
    results = check_drift(scope_of(house, NOW))
    assert {r.rule.name for r in results} == {rule.name for rule in RULES}
    assert {r.outcome for r in results} == {Outcome.ERRORED}
    assert str(path) in results[0].observed
    later = check_drift(scope_of(house, NOW + timedelta(days=500)))
    assert {r.outcome for r in later} == {Outcome.PASSED}, "so old a file is not read"


def test_the_real_data_raises_no_alarm(sqlite_house: House, tmp_path: Path) -> None:
    sqlite_house.store.write_bytes(write_demo_files(tmp_path / "demo").system_db.read_bytes())
    for journal in sqlite_house.store.parent.glob("*-*"):
        journal.unlink()
    for now in (datetime(2026, 11, 25, tzinfo=UTC), datetime(2026, 4, 20, tzinfo=UTC)):
        assert found(sqlite_house, now) == {}
