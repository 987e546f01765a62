"""Where a row is moves no number: archived, restored, half way, from a backup, or read by another process."""

import itertools
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from config.loading import load_settings
from fluxhero.archive.holds import release_holds
from fluxhero.archive.workspace import Workspace
from fluxhero.metrics.equity import account_samples, accounts, equity_curve
from fluxhero.metrics.families import ACCOUNT, HOLDINGS, ORDERS, TRADES, Kind
from fluxhero.metrics.holdings import holding_samples, holdings
from fluxhero.metrics.ledger_facts import ledger_facts
from fluxhero.metrics.orders import order_samples
from fluxhero.metrics.trades import trade_samples
from tests import samples
from tests.archive.conftest import house, make_house, store_kind
from tests.house import House

__all__ = ["house", "make_house", "store_kind"]
REPOSITORY = Path(__file__).parents[2]
CAPITAL = Decimal(100_000)
_ELSEWHERE = "from tests.metrics.test_invariance import numbers_as_text; print(numbers_as_text())"


def numbers() -> dict[str, Any]:
    """All that is measured of the ledger that the settings name."""
    with ledger_facts(Workspace.of(load_settings(env_file=None))) as connection:
        found = accounts(connection, CAPITAL)
        held = holdings(connection)
        measured = [
            *account_samples(found, connection, samples.AS_OF),
            *trade_samples(connection, samples.AS_OF),
            *holding_samples(held, {one.mode: one.equity for one in found}),
            *order_samples(connection, samples.AS_OF),
        ]
        curve = equity_curve(connection, CAPITAL).to_pylist()
    values = {" ".join([one.name, *map("=".join, one.labels)]): one.value for one in measured}
    assert len(values) == len(measured)
    return {**values, "accounts": found, "holdings": held, "curve": curve}


def numbers_as_text() -> str:
    """The numbers in a form that another process can print."""
    return json.dumps({name: repr(value) for name, value in numbers().items()}, sort_keys=True)


def fill(house: House, rng: random.Random) -> None:
    """Trades (and, in a ledger, orders, cash flows, values and positions) of some months until May."""
    trades: dict[str, list[dict[str, Any]]] = {}
    for number in range(1, 61):
        entry = datetime(2025, 1, 2, tzinfo=UTC) + timedelta(seconds=rng.randrange(145 * 86_400))
        leave = entry + timedelta(seconds=rng.choice((0, 59, 61, 4000, 200_000)))
        result = rng.choice((Decimal(0), Decimal(rng.randrange(-90_000, 95_000)).scaleb(-2)))
        common = {
            "symbol": rng.choice(("AAPL", "MSFT", "BTC/USD")),
            "strategy": rng.choice(("trend", "mean")),
        }
        state = rng.choices((1, 2, 0), (85, 7, 8))[0]
        if house.kind == "duckdb":
            trade = samples.ledger_trade(
                number,
                **common,
                mode=rng.choice(("live", "live", "paper", "legacy")),
                side=rng.choice(("long", "short")),
                status=("open", "closed", "cancelled")[state],
                entry_time=entry,
                exit_time=leave if state else None,
                realized_pnl=result if state == 1 else None,
                fees=rng.choice((None, Decimal("0.35"))),
                stop_loss=rng.choice((None, Decimal("95.5"))),
            )
            trades.setdefault("trades", []).append(trade)
        else:
            trade = samples.fluxhero_trade(
                number,
                **common,
                side=rng.choice((1, -1)),
                status=state,
                entry_time=entry.isoformat(),
                exit_time=leave.isoformat() if state else None,
                realized_pnl=float(result) if state == 1 else None,
            )
            trades.setdefault(rng.choice(sorted(samples.SQLITE_DDL)), []).append(trade)
    insert = samples.insert_duckdb if house.kind == "duckdb" else samples.insert_sqlite
    for table, rows in trades.items():
        insert(house.store, table, *rows)
    if house.kind == "duckdb":
        fill_the_rest(house, rng)


def fill_the_rest(house: House, rng: random.Random) -> None:
    orders, start = [], datetime(2025, 1, 2, tzinfo=UTC)
    for number in range(1, 91):
        sent = start + timedelta(seconds=rng.randrange(149 * 86_400))
        delay = timedelta(microseconds=rng.choice((-5, 0, 2_000, 900_000, 7_200_000_000)))
        status = rng.choice(("filled", "filled", "cancelled", "new", "done_for_day"))
        order = samples.ledger_order(
            number,
            mode=rng.choice(("live", "paper")),
            broker=rng.choice(("alpaca", "IBKR", None)),
            order_type=rng.choice(("market", "limit", "odd", None)),
            status=status,
            submitted_at=sent,
            acknowledged_at=rng.choice((None, sent + timedelta(milliseconds=rng.randrange(90)))),
            filled_at=sent + delay if status == "filled" else None,
        )
        orders.append(order)
    flows = [
        {
            "flow_id": f"f{n}",
            "mode": "live",
            "at": start + timedelta(days=9 * n),
            "kind": kind,
            "amount": Decimal(500),
        }
        for n, kind in enumerate(("deposit", "withdrawal", "fee", "dividend"))
    ]
    values = [
        {
            "mode": "live",
            "at": start + timedelta(days=n),
            "equity": Decimal(rng.randrange(90_000, 110_000)),
            "unrealized_pnl": Decimal(n - 9),
        }
        for n in range(30)
    ]
    position = {
        "mode": "paper",
        "symbol": "AAPL",
        "side": "long",
        "quantity": Decimal(199),
        "entry_price": Decimal("58.1"),
    }
    abroad = flows[0] | {"flow_id": "f-abroad", "currency": "EUR"}
    flows.append(abroad)
    samples.insert_duckdb(house.store, "orders", *orders)
    samples.insert_duckdb(house.store, "cash_flows", *flows)
    samples.insert_duckdb(house.store, "equity", *values)
    samples.insert_duckdb(house.store, "positions", position)


def happenings(
    house: House, rng: random.Random, check: Callable[[], None]
) -> list[Callable[[], object]]:
    """What may happen to a store and its archive without any trade changing."""
    backup = house.store.with_name("backup")
    shutil.copy2(house.store, backup)

    def archive_in_part() -> None:
        as_of = samples.AS_OF - timedelta(days=rng.randrange(100))
        house.archive(as_of=as_of, limit=rng.randrange(1, 40))

    def archive_watched() -> None:
        groups = itertools.count()

        def between_publish_and_purge() -> None:
            if next(groups) % 4 == 0:  # after each of them would take long
                check()

        house.archive(retention_days=0, after={"publish_batches": between_publish_and_purge})

    def restore_a_batch() -> None:
        manifests = house.chain.manifests
        if manifests:
            house.restore(batch_id=rng.choice(manifests).batch_id)

    def release() -> None:
        for table in ("trades", "orders"):
            keys = [hold.trade_id for hold in house.holds if hold.table == table]
            release_holds(house.workspace.layout.holds, table, keys, at=datetime.now(UTC))

    def bring_back_an_old_backup() -> None:
        for leftover in house.store.parent.glob(f"{house.store.name}-*"):
            leftover.unlink()
        shutil.copy2(backup, house.store)

    return [
        archive_in_part,
        lambda: house.archive(purge=False),
        archive_watched,
        restore_a_batch,
        release,
        bring_back_an_old_backup,
        house.archive,
    ]


@pytest.mark.parametrize("seed", range(2))
def test_no_number_moves(house: House, seed: int) -> None:
    rng = random.Random(seed)
    fill(house, rng)
    before = numbers()

    def check() -> None:
        assert numbers() == before

    what = happenings(house, rng, check)
    rng.shuffle(what)
    for happen in what:
        happen()
        check()
    assert house.chain.manifests, "something was archived"


def test_another_process_measures_the_same(house: House) -> None:
    fill(house, random.Random("elsewhere"))
    before = numbers_as_text()
    house.archive()
    done = subprocess.run(
        [sys.executable, "-c", _ELSEWHERE],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(before)
    names = {name.split()[0].removeprefix("trading_") for name in json.loads(before)}
    families = (*ACCOUNT, *TRADES, *HOLDINGS, *(ORDERS if house.kind == "duckdb" else ()))
    for family in families:
        suffix = "_count" if family.kind is Kind.HISTOGRAM else ""
        told = family.name.removeprefix("trading_") + suffix
        if house.kind == "duckdb" or told not in {
            "unrealized_pnl_usd",
            "cash_flow_usd",
            "fees_usd_total",
            "rows_other_currency",
        }:
            assert told in names, "what the test has no data for it does not prove"
