"""Every rule of trades has a planted fault, found in a real store and in its archive by that rule alone."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from fluxhero.demo import write_demo_files
from fluxhero.integrity.passed import Passed
from fluxhero.integrity.results import Outcome
from fluxhero.integrity.rules import Severity
from fluxhero.integrity.scope import Scope
from fluxhero.integrity.values import check_values, suite_of
from fluxhero.ledger.formats import ReadOptions, detect
from fluxhero.ledger.schema import TRADES as TRADES_TABLE
from tests import samples
from tests.house import House
from tests.integrity import planted
from tests.integrity.planted import broken, check, scope_of

NOT_PLANTED = {
    "duckdb": {"trades.schema", "trades.unique-key", "trades.finite-prices", "trades.readable-times"},
}  # fmt: skip


def plant(
    kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[House, dict[str, set[str]]]:
    """A store with every fault, and by key what its row breaks."""
    if kind == "duckdb":
        house = planted.house_of(kind, folder, monkeypatch)
        faults = list(planted.TRADES.values())
        rows = [planted.ledger_trade(n, **each.changes) for n, each in enumerate(faults)]
        samples.insert_duckdb(house.store, "trades", *rows)
    else:
        monkeypatch.setenv("FLUXHERO_SOURCE_TIMEZONE", "America/New_York")
        house = planted.house_of(kind, folder, monkeypatch)
        faults = list(planted.FLUXHERO_TRADES.values())
        rows = [samples.fluxhero_trade(n, **each.changes) for n, each in enumerate(faults)]
        samples.insert_sqlite(house.store, "live_trades", *rows)
    return house, {house.key(n): set(each.breaks) for n, each in enumerate(faults) if each.breaks}


@pytest.fixture(params=["duckdb", "sqlite"])
def planted_store(
    request: pytest.FixtureRequest, clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[House, dict[str, set[str]]]:
    return plant(request.param, clean_environment, monkeypatch)


def test_each_fault_is_found_by_its_rule_alone(
    planted_store: tuple[House, dict[str, set[str]]],
) -> None:
    house, expected = planted_store
    results = check(house)
    assert broken(results) == expected
    assert not broken(results, "archive")
    names = {result.rule.name for result in results}
    if house.kind == "duckdb":
        assert names - set().union(*expected.values()) == NOT_PLANTED["duckdb"]


def test_it_is_found_in_the_archive_too(planted_store: tuple[House, dict[str, set[str]]]) -> None:
    house, expected = planted_store
    house.archive()
    archived = {key.removeprefix("trades/") for key in house.look().archived}
    assert len(archived) > 10
    results = check(house)
    assert broken(results, "archive") == {k: v for k, v in expected.items() if k in archived}
    assert broken(results) == {k: v for k, v in expected.items() if k not in archived}
    assert {r.checked for r in results if r.object == "trades (archive)"} >= {len(archived)}


def test_a_key_twice_in_one_batch_and_in_a_table_without_a_key(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = planted.house_of("sqlite", clean_environment, monkeypatch)
    keyless = samples.SQLITE_DDL["live_trades"].replace(
        "INTEGER PRIMARY KEY AUTOINCREMENT", "INTEGER"
    )
    house.execute(f"DROP TABLE live_trades; {keyless}")
    twice = [samples.fluxhero_trade(1, symbol=symbol) for symbol in ("AAPL", "IBM")]
    samples.insert_sqlite(house.store, "live_trades", *twice, samples.fluxhero_trade(2))
    assert broken(check(house)) == {house.key(1): {"trades.unique-key"}}


def test_a_row_twice_in_an_archive_file(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = planted.house_of("duckdb", clean_environment, monkeypatch)
    house.add(1, 2, 3)
    house.archive()
    (path,) = house.archive_dir.glob("trades/**/*.parquet")
    rewrite(path, "FROM rows UNION ALL FROM rows WHERE trade_id = 't-00002'")
    found = broken(check(house), "archive")
    assert found == {"t-00002": {"trades.unique-key"}}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ("SELECT * REPLACE (quantity::DOUBLE AS quantity)", "quantity is double"),
        (
            "SELECT * REPLACE (timezone('UTC', exit_time) AS exit_time)",
            "exit_time is timestamp[us],",
        ),
        ("SELECT * REPLACE (NULL::INTEGER AS stop_loss)", "stop_loss is int32"),
    ],
    ids=["decimal to float", "zone lost", "null-typed"],
)
def test_a_drifted_schema_leaves_nothing_checked(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch, changed: str, said: str
) -> None:
    house = planted.house_of("duckdb", clean_environment, monkeypatch)
    house.add(1, 2)
    house.archive()
    (path,) = house.archive_dir.glob("trades/**/*.parquet")
    rewrite(path, f"{changed} FROM rows")
    results = [r for r in check(house) if r.object == "trades (archive)"]
    assert results[0].rule.name == "trades.schema"
    assert results[0].outcome is Outcome.FAILED
    assert said in results[0].observed
    assert {r.outcome for r in results[1:]} == {Outcome.ERRORED}


def rewrite(path: Path, query: str) -> None:
    """Put other rows into a file, as somebody with DuckDB would."""
    with duckdb.connect() as db:
        db.execute(f"CREATE TABLE rows AS FROM '{path}'")
        db.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet)")


def test_the_demo_has_its_known_faults_and_no_other(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = planted.house_of("duckdb", clean_environment, monkeypatch)
    files = write_demo_files(clean_environment / "demo")
    with duckdb.connect(str(house.store)) as db:
        for path in (files.trades_live, files.trades_replay):
            for page in detect(path).pages(path, ReadOptions(table=TRADES_TABLE)):
                db.register("page", page.rows)
                db.execute("INSERT INTO trades BY NAME FROM page")
    now = datetime(2026, 11, 1, tzinfo=UTC)
    for url in (f"duckdb:///{house.store}", f"sqlite:///{files.system_db}"):
        monkeypatch.setenv("FLUXHERO_STORE_URL", url)
        scope = Scope.of(house.settings, now=now, deep=False)
        found = broken(check_values(scope, "trades", Passed(clean_environment / "none.json")))
        assert sorted(map(sorted, found.values())) == [
            *[["trades.pnl"]] * 10,
            ["trades.pnl", "trades.pnl-sign"],
        ]
        numbers = sorted(int(key.split(":")[1]) for key in found)
        assert numbers[-1] - numbers[0] == 10, "the last ones in the file"


def test_results_net_of_fees_that_are_not_recorded(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A habit of many trades; one that gained more than prices say is no matter of fees."""
    house = planted.house_of("duckdb", clean_environment, monkeypatch)
    house.add(*range(1, 25), realized_pnl=12)
    house.add(25, realized_pnl=13)
    assert broken(check(house)) == {"t-00025": {"trades.pnl"}}
    house.execute("DELETE FROM trades WHERE trade_id < 't-00015'")
    assert len(broken(check(house))) == 11, "too few for a habit"


def test_a_source_without_stops_is_not_reproached(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each strategy by its own habit, learned from the archive as well."""
    house = planted.house_of("duckdb", clean_environment, monkeypatch)
    house.add(1, 2, 3, strategy="bare")
    house.add(4, 5, 6, strategy="careful", stop_loss=90)
    assert not broken(check(house))
    house.archive()
    house.add(7, strategy="bare")
    house.add(8, strategy="careful")
    assert broken(check(house)) == {"t-00008": {"trades.stop-present"}}


def test_the_tolerance_is_a_setting(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUXHERO_PNL_TOLERANCE", "0.1")
    house = planted.house_of("duckdb", clean_environment, monkeypatch)
    house.add(1, realized_pnl=Decimal("12.6"))
    house.add(2, realized_pnl=Decimal("12.61"))
    assert broken(check(house)) == {"t-00002": {"trades.pnl"}}


def test_every_rule_says_what_to_do(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = planted.house_of("duckdb", clean_environment, monkeypatch)
    for table in ("trades", "orders", "fills", "cash_flows", "equity", "positions"):
        suite = suite_of(scope_of(house), table)
        names = [rule.name for rule in suite.every_rule]
        assert len(set(names)) == len(names)
        for rule in suite.every_rule:
            assert rule.name.startswith(f"{table}.")
            assert isinstance(rule.severity, Severity)
            assert rule.means.endswith(".")
            assert rule.remedy.endswith((".", "`."))
            assert rule.says[0].isupper()
            assert rule.says.endswith(".")
