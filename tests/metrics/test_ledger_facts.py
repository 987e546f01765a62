"""What is measured is the whole ledger: hot or archived, each key once, and nothing that is no fact."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from config.settings import Settings
from fluxhero.archive.workspace import Workspace
from fluxhero.errors import DamagedFileError
from fluxhero.ledger.schema import MODES
from fluxhero.metrics.equity import account_samples, accounts, equity_curve
from fluxhero.metrics.equity_points import unusable_by_mode
from fluxhero.metrics.holdings import holding_samples, holdings
from fluxhero.metrics.ledger_facts import FACTS, ledger_facts
from fluxhero.metrics.samples import Sample
from fluxhero.metrics.trades import trade_samples
from tests import samples
from tests.house import execute_elsewhere
from tests.metrics.tables import assert_fit, values
from tests.protocol import archive, restore, workspace_of
from tests.samples import AS_OF

Rows = list[tuple[object, ...]]


@pytest.fixture(params=("duckdb", "sqlite"))
def sample(request: pytest.FixtureRequest, clean_environment: Path) -> samples.Sample:
    kind: str = request.param
    return samples.write_sample(kind, clean_environment / f"store.{kind}")


@pytest.fixture
def ledger(clean_environment: Path) -> Workspace:
    """An empty ledger."""
    workspace = Workspace.of(Settings(data_dir=clean_environment / "data"))
    samples.create_duckdb_store(workspace.store.path)
    return workspace


def everything(workspace: Workspace) -> dict[str, Rows]:
    """All facts, and all that is measured of them."""
    found: dict[str, Rows] = {}
    with ledger_facts(workspace) as connection:
        for table, columns in FACTS.items():
            names = ", ".join(f'"{name}"' for name in columns)
            found[table] = connection.execute(
                f"SELECT {names} FROM {table} ORDER BY ALL"
            ).fetchall()
        capital = Decimal(100_000)
        known = accounts(connection, capital)
        held = holdings(connection)
        samples = account_samples(known, connection, AS_OF)
        samples += trade_samples(connection, AS_OF)
        samples += holding_samples(held, dict.fromkeys(MODES, capital))
        curve = equity_curve(connection, capital).to_pylist()
    assert_fit(samples)
    found["measured"] = [(one,) for one in (*known, *held, *samples, *curve)]
    return found


def test_nothing_moves_wherever_the_rows_are(sample: samples.Sample, tmp_path: Path) -> None:
    workspace = workspace_of(sample, tmp_path / "data")
    table = {"duckdb": "trades", "sqlite": "live_trades"}[sample.kind]
    sound = f"UPDATE {table} SET realized_pnl = 0.25 WHERE realized_pnl IS NULL"
    execute_elsewhere(sample.kind, sample.path, sound)
    before = everything(workspace)
    assert len(before["trades"]) > 500
    assert len(before["measured"]) > 200
    assert {row[1] for row in before["trades"]} == {"live", "paper", "legacy"}
    assert (len(before["orders"]) > 100) == (sample.kind == "duckdb")
    assert archive(workspace) > 500
    assert everything(workspace) == before
    with ledger_facts(workspace) as connection:
        due = "SELECT trade_id FROM trades WHERE status = 'closed' AND exit_time < ? LIMIT 5"
        keys = [key for (key,) in connection.execute(due, [samples.CUTOFF]).fetchall()]
    assert set(restore(workspace, keys).restored) == set(keys)
    assert everything(workspace) == before


def test_a_late_correction_counts_once_and_as_corrected(ledger: Workspace) -> None:
    path = ledger.store.path
    rows = [samples.ledger_trade(1), samples.ledger_trade(2)]
    samples.insert_duckdb(path, "trades", *rows)
    archive(ledger)
    samples.insert_duckdb(path, "trades", rows[0] | {"realized_pnl": 99})
    with ledger_facts(ledger) as connection:
        found = "SELECT trade_id, realized_pnl::DOUBLE FROM trades ORDER BY 1"
        assert connection.execute(found).fetchall() == [("t-00001", 99), ("t-00002", 12.5)]


def test_what_is_no_mode_or_no_time_is_no_fact(ledger: Workspace) -> None:
    samples.insert_duckdb(
        ledger.store.path,
        "trades",
        samples.ledger_trade(1),
        samples.ledger_trade(2),
        samples.ledger_trade(3, mode="demo"),
    )
    with duckdb.connect(str(ledger.store.path)) as db:
        db.execute(
            "UPDATE trades SET exit_time = 'infinity', updated_at = '-infinity' "
            "WHERE trade_id = 't-00002'"
        )
    with ledger_facts(ledger) as connection:
        found = connection.execute(
            "SELECT trade_id, exit_time IS NULL, updated_at IS NULL FROM trades ORDER BY 1"
        ).fetchall()
        assert found == [("t-00001", False, False), ("t-00002", True, True)]
        with pytest.raises(duckdb.CatalogException):
            connection.execute("FROM hot.trades")


def test_another_currency_is_carried_and_never_summed(ledger: Workspace) -> None:
    """Of trades it stands in `extra`, of cash flows in a column; archived rows are no exception."""

    def trade(number: int, extra: str | None) -> dict[str, object]:
        return samples.ledger_trade(number, realized_pnl=Decimal(1), extra=extra)

    def flow(number: int, currency: str | None) -> dict[str, object]:
        at = samples.AS_OF - timedelta(days=1)
        row = {"flow_id": f"f{number}", "mode": "live", "at": at, "kind": "deposit", "amount": 10}
        return row | {"currency": currency}

    told = (
        '{"currency": "EUR"}',
        '{"currency":"USD"}',
        None,
        '{"note": "currency"}',
        '{"currency":"XYZ"}',
    )
    samples.insert_duckdb(
        ledger.store.path, "trades", *(trade(n, extra) for n, extra in enumerate(told))
    )
    flows = [flow(n, currency) for n, currency in enumerate(("EUR", "USD", None, ""))]
    samples.insert_duckdb(ledger.store.path, "cash_flows", *flows)
    before = everything(ledger)
    assert (len(before["trades"]), len(before["cash_flows"])) == (3, 3)
    measured = [row[0] for row in before["measured"]]
    found = [one for one in measured if isinstance(one, Sample)]
    assert values(found, "rows_other_currency") == {
        ("live", "cash_flows"): 1,
        ("live", "trades"): 2,
    }
    assert values(found, "equity_usd")["live", "closed"] == 100_000 + 3 + 30
    assert archive(ledger) == 5
    assert everything(ledger) == before


def test_a_store_that_is_not_there_yet_has_no_facts(ledger: Workspace) -> None:
    ledger.store.path.unlink()
    assert everything(ledger) == {name: [] for name in (*FACTS, "measured")}


def test_a_damaged_file_is_named(ledger: Workspace) -> None:
    samples.insert_duckdb(ledger.store.path, "trades", samples.ledger_trade())
    archive(ledger)
    (file,) = ledger.layout.root.glob("trades/*/*/*/*.parquet")
    file.write_bytes(b"PAR1 gone PAR1")
    with pytest.raises(DamagedFileError, match=file.name):
        everything(ledger)


def test_a_result_that_is_no_amount_of_money_is_none(clean_environment: Path) -> None:
    """The audited system's NaN counted as fine."""
    path = clean_environment / "system.db"
    samples.create_fluxhero_store(path)
    for number, result in enumerate((float("inf"), float("nan"), 1e300, "none", 5.0), start=1):
        row = samples.fluxhero_trade(number, realized_pnl=result)
        samples.insert_sqlite(path, "live_trades", row)
    samples.insert_sqlite(path, "paper_trades", samples.fluxhero_trade())
    store = samples.Sample("sqlite", path, frozenset(), frozenset())
    with ledger_facts(workspace_of(store, clean_environment / "data")) as connection:
        assert unusable_by_mode(connection) == {"live": 4, "paper": 0}
        known = accounts(connection, Decimal(100_000))
        closed = trade_samples(connection, AS_OF)
    assert [(one.mode, one.equity) for one in known] == [("paper", Decimal("100012.5"))]
    assert values(closed, "trades_closed_total")["live", "unknown"] == 4
