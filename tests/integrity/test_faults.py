"""Faults planted in a whole, sound installation, and the rule that has to find each; nothing else may.

Every other rule has a test of its own beside it. Here the product's flow runs, from files to report.
"""

import math
import shutil
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxhero.engine import literal
from fluxhero.integrity.check_report import CheckReport
from fluxhero.ledger.schema import TRADES
from tests.archive.conftest import make_house
from tests.house import House
from tests.integrity import sound
from tests.integrity.sound import BARS_WRITTEN
from tests.samples import create_duckdb_store, create_fluxhero_store

# Measuring takes a fifth of their time, and other tests reach the same lines.
pytestmark = pytest.mark.no_cover


@pytest.fixture(scope="module", params=["duckdb", "sqlite"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def place(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the installation is, and beside it a copy as it was; a FluxHero store is known by its place."""
    folder = tmp_path_factory.mktemp(kind)
    with pytest.MonkeyPatch.context() as patched:
        house = _house(kind, folder / "now", patched)
        (create_duckdb_store if kind == "duckdb" else create_fluxhero_store)(house.store)
        sound.sound_house(house)
    shutil.copytree(folder / "now", folder / "sound")
    return folder


@pytest.fixture
def installed(
    kind: str, place: Path, clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> House:
    shutil.rmtree(place / "now")
    shutil.copytree(place / "sound", place / "now")
    return _house(kind, place / "now", monkeypatch)


def _house(kind: str, folder: Path, patched: pytest.MonkeyPatch) -> House:
    house = make_house(kind, folder, patched)
    patched.setenv("FLUXHERO_ARCHIVE_MIRROR_DIR", str(folder / "mirror"))
    return house


def faults(report: CheckReport) -> dict[str, set[str]]:
    """Rule → objects of what counts."""
    found: dict[str, set[str]] = {}
    for line in report.findings:
        if line.state.counts:
            found.setdefault(line.rule, set()).add(line.object)
    return found


def test_a_sound_installation_has_no_finding(installed: House) -> None:
    for deep in (False, True):
        report = installed.check(deep=deep)
        assert faults(report) == {}
        assert report.ok
        assert report.rules > 60
    assert not (installed.data / "quarantine").exists()


Plant = Callable[[House], object]


def of(kind: str, faults_of: Iterable[str]) -> list[tuple[str, str]]:
    """Faults with the kind of store that they are planted in."""
    return [(kind, name) for name in faults_of]


def data_file(house: House, number: int = 0) -> Path:
    return sorted((house.archive_dir / "trades").rglob("*.parquet"))[number]


def manifests(house: House) -> list[Path]:
    folder = house.archive_dir / "manifests"
    return sorted(path for path in folder.glob("*.json") if path.name.count(".") == 1)


def flip(path: Path, place: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(len(content) * place)] ^= 4
    path.write_bytes(content)


def rewrite(house: House, change: Callable[[pa.Table], pa.Table]) -> None:
    """Write a data file again as a whole and sound Parquet file, with other content."""
    path = data_file(house)
    table = pq.read_table(path, partitioning=None)
    pq.write_table(change(table), path, write_page_checksum=True, compression="zstd")


def recast(name: str, kind: pa.DataType) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index(name)
        values = pa.nulls(len(table)) if kind == pa.null() else table[name].cast(kind, safe=False)
        return table.set_column(place, name, values)

    return change


def swap(house: House) -> None:
    first, second = data_file(house, 0), data_file(house, 1)
    first_bytes = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(first_bytes)


def edit_event(house: House) -> None:
    path = sorted((house.archive_dir / "manifests").glob("*.purged.json"))[0]
    path.write_text(path.read_text().replace('"rows": ', '"rows": 1'))


def damage_findings(house: House) -> None:
    house.check()
    flip(sorted((house.data / "findings").glob("*.parquet"))[0], 0.5)


FILES: dict[str, tuple[Plant, str]] = {
    "a bit in a data page": (lambda h: flip(data_file(h), 0.4), "files.sha256"),
    "a bit in the footer": (lambda h: flip(data_file(h), 0.97), "files.sha256"),
    "truncated": (
        lambda h: data_file(h).write_bytes(data_file(h).read_bytes()[:-50]),
        "files.size",
    ),
    "empty": (lambda h: data_file(h).write_bytes(b""), "files.structure"),
    "gone": (lambda h: data_file(h).unlink(), "files.present"),
    "swapped": (swap, "files.misplaced"),
    "renamed": (
        lambda h: data_file(h).rename(data_file(h).with_name("old.parquet")),
        "files.misplaced",
    ),
    "an older version of itself": (lambda h: rewrite(h, lambda t: t.slice(1)), "files.outdated"),
    "rows missing": (lambda h: rewrite(h, lambda t: t.slice(1)), "files.rows"),
    "null-typed": (lambda h: rewrite(h, recast("take_profit", pa.null())), "files.schema"),
    "zone lost": (
        lambda h: rewrite(h, recast("_closed_at", pa.timestamp("us"))),
        "files.schema",
    ),
    "integer to float": (
        lambda h: rewrite(h, recast("_row_hash", pa.float64())),
        "files.schema",
    ),
    "another program's file": (
        lambda h: (h.archive_dir / "trades" / "notes.txt").write_text("mine"),
        "files.stray",
    ),
    "a copy that no manifest names": (
        lambda h: shutil.copy(
            data_file(h), data_file(h).with_name(data_file(h).name.replace("-", "-1", 1))
        ),
        "files.unnamed",
    ),
    "staging": (
        lambda h: (h.archive_dir / ".staging" / "x.parquet.partial").write_bytes(b"half"),
        "files.staging",
    ),
    "a bit in a manifest": (lambda h: flip(manifests(h)[0], 0.5), "chain.readable"),
    "a manifest from the middle": (lambda h: manifests(h)[1].unlink(), "chain.complete"),
    "the last manifest": (lambda h: manifests(h)[-1].unlink(), "chain.head"),
    "an event edited": (edit_event, "chain.readable"),
    "holds": (lambda h: (h.archive_dir / "holds.json").write_text("[{"), "holds.readable"),
    "identity": (
        lambda h: (h.archive_dir / "archive.json").write_text("{}"),
        "archive.identity",
    ),
    "the mirror": (
        lambda h: flip(sorted((h.data.parent / "mirror").rglob("*.parquet"))[0], 0.5),
        "mirror.sha256",
    ),
    "a bit in the findings": (damage_findings, "recorded.sha256"),
}


@pytest.mark.parametrize(("kind", "name"), of("duckdb", FILES), indirect=["kind"])
def test_a_damaged_file_is_found(installed: House, name: str) -> None:
    plant, rule = FILES[name]
    plant(installed)
    report = installed.check(deep=True)
    assert rule in faults(report), faults(report)
    assert not report.ok


# What is edited in the hot store: the open trade, or the last closed one, in the terms of each store.
def ledger(sql: str, table: str = "trades") -> Plant:
    return lambda house: house.execute(f"UPDATE {table} SET {sql}")


CLOSED = "WHERE trade_id = 't-00092'"
OPEN = "WHERE status = 'open'"
LAST_FLUXHERO = "WHERE id = 92"

LEDGER: dict[str, tuple[Plant, set[str]]] = {
    "exit before entry": (
        ledger(f"exit_time = entry_time - INTERVAL 1 HOUR {CLOSED}"),
        {"trades.exit-after-entry"},
    ),
    "negative quantity": (
        ledger(f"quantity = -10, realized_pnl = NULL {CLOSED}"),
        {
            "trades.positive-quantity",
            "trades.closed-has-result",
            "ledger.order-agrees",
            "ledger.cash",
        },
    ),
    "a result of the wrong sign": (
        ledger(f"realized_pnl = -realized_pnl {CLOSED}"),
        {"trades.pnl", "trades.pnl-sign", "ledger.cash"},
    ),
    "a cent off": (
        ledger(f"realized_pnl = realized_pnl + 0.01 {CLOSED}"),
        {"trades.pnl"},
    ),
    "no stop": (ledger(f"stop_loss = NULL {OPEN}"), {"trades.stop-present"}),
    "a stop on the wrong side": (
        ledger(f"stop_loss = entry_price * 1.05 {CLOSED}"),
        {"trades.stop-side"},
    ),
    "closed without exit": (
        ledger(f"exit_price = NULL {CLOSED}"),
        {"trades.closed-has-exit"},
    ),
    "open with exit": (
        ledger(f"exit_price = 100 {OPEN}"),
        {"trades.open-has-no-exit"},
    ),
    "a status nobody knows": (ledger(f"status = 'done' {OPEN}"), {"trades.status"}),
    "a time to come": (
        ledger(
            f"entry_time = '2031-01-01', created_at = '2031-01-01', updated_at = '2031-01-01' {OPEN}"
        ),
        {"trades.not-in-future"},
    ),
    "an absurd price": (
        ledger(f"take_profit = 99000000 {OPEN}"),
        {"trades.sane-prices"},
    ),
    "negative fees": (ledger(f"fees = -0.10 {OPEN}"), {"trades.fees-not-negative"}),
    "an order without its trade": (
        ledger("trade_id = 't-99999' WHERE order_id = 'o-00092-in'", "orders"),
        {"ledger.order-has-trade"},
    ),
    "more filled than ordered": (
        ledger("filled_quantity = 12 WHERE order_id = 'o-00092-in'", "orders"),
        {"orders.filled-at-most-ordered", "ledger.order-agrees"},
    ),
    "acknowledged before it was sent": (
        ledger(
            "acknowledged_at = submitted_at - INTERVAL 1 MINUTE WHERE order_id = 'o-00092-in'",
            "orders",
        ),
        {"orders.times-in-order"},
    ),
    "a day without equity": (
        lambda h: h.execute("DELETE FROM equity WHERE \"at\"::DATE = DATE '2025-05-14'"),
        {"equity.gap"},
    ),
    "a deposit that is gone": (lambda h: h.execute("DELETE FROM cash_flows"), {"ledger.cash"}),
    "a position of nothing": (
        ledger("quantity = 0", "positions"),
        {"positions.positive-quantity"},
    ),
    "an equity point of half the account": (
        lambda h: h.execute(
            "UPDATE equity SET equity = equity / 3 WHERE \"at\"::DATE = DATE '2025-05-14'"
        ),
        {"equity.step", "ledger.cash"},
    ),
    "one fill under two ids": (
        lambda h: h.execute(
            "INSERT INTO trades SELECT * REPLACE ('copy' AS trade_id, 'copy' AS source_id) "
            f"FROM trades {CLOSED}"
        ),
        {"ledger.same-fill-twice", "ledger.cash", "ledger.trade-has-orders"},
    ),
    "an archived row put back": (
        lambda h: put_back(h, ""),
        {"ledger.hot-equals-archived"},
    ),
    "an archived row put back and edited": (
        lambda h: put_back(h, "REPLACE ('other' AS strategy)"),
        {"ledger.hot-differs-from-archived"},
    ),
}


def put_back(house: House, edit: str) -> None:
    names = ", ".join(f'"{name}"' for name in TRADES.names)
    file = literal(str(data_file(house)))
    house.execute(
        f"INSERT INTO trades ({names}) SELECT {names} FROM (SELECT * {edit} FROM "
        f"read_parquet({file}, hive_partitioning = false) LIMIT 1)"
    )


FLUXHERO: dict[str, tuple[Plant, set[str]]] = {
    "exit before entry": (
        ledger(f"exit_time = '2025-05-01T00:00:00' {LAST_FLUXHERO}", "live_trades"),
        {"trades.exit-after-entry"},
    ),
    "an infinite price": (
        ledger(f"take_profit = 9e999 {LAST_FLUXHERO}", "live_trades"),
        {"trades.finite-prices"},
    ),
    "a time nobody can read": (
        ledger(f"entry_time = 'noon' {LAST_FLUXHERO}", "live_trades"),
        {"trades.readable-times"},
    ),
    "zero shares": (
        ledger(f"shares = 0, realized_pnl = 0 {LAST_FLUXHERO}", "live_trades"),
        {"trades.positive-quantity"},
    ),
    "a row that somebody deleted": (
        lambda h: h.execute(f"DELETE FROM live_trades {LAST_FLUXHERO}"),
        {"ledger.gaps"},
    ),
    "no stop": (
        ledger(f"stop_loss = 0 {LAST_FLUXHERO}", "live_trades"),
        {"trades.stop-present"},
    ),
    "a side of neither": (
        ledger(f"side = 0 {LAST_FLUXHERO}", "live_trades"),
        {"trades.side"},
    ),
}


@pytest.mark.parametrize(
    ("kind", "name"), [*of("duckdb", LEDGER), *of("sqlite", FLUXHERO)], indirect=["kind"]
)
def test_a_wrong_value_is_found_and_nothing_else(installed: House, kind: str, name: str) -> None:
    plant, rules = (LEDGER if kind == "duckdb" else FLUXHERO)[name]
    plant(installed)
    assert set(faults(installed.check())) == rules


def rebarred(
    change: Callable[[pa.Table], pa.Table],
    written: datetime = BARS_WRITTEN,
    adjustment: str = "raw",
) -> Plant:
    """Put other bars of AAPL in the place of the sound ones."""
    return lambda house: sound.write_bars(
        house, "AAPL", change(sound.bars("AAPL")), written, adjustment
    )


def edited(at: int, **values: float) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        rows[at] |= values
        return pa.Table.from_pylist(rows, schema=table.schema)

    return change


def holiday(table: pa.Table) -> pa.Table:
    extra = table.slice(10, 1).to_pylist()[0] | {"timestamp": sound.midnight(date(2025, 4, 18))}
    both = pa.concat_tables([table, pa.Table.from_pylist([extra], schema=table.schema)])
    return both.sort_by("timestamp")


def split(table: pa.Table) -> pa.Table:
    """Prices before a 4-for-1 split as they were traded."""
    rows = table.to_pylist()
    for row in rows[:20]:
        for name in ("open", "high", "low", "close"):
            row[name] *= 4
    return pa.Table.from_pylist(rows, schema=table.schema)


BARS: dict[str, tuple[Plant, set[str]]] = {
    "high below low": (rebarred(edited(5, high=1.0)), {"bars.high-not-below-low"}),
    "close outside its bar": (rebarred(edited(5, close=1.0)), {"bars.inside-range"}),
    "not a number": (rebarred(edited(5, open=math.nan)), {"bars.finite"}),
    "infinite": (rebarred(edited(5, volume=math.inf)), {"bars.finite"}),
    "a price of nothing": (rebarred(edited(5, low=0.0)), {"bars.positive"}),
    "negative volume": (rebarred(edited(5, volume=-1.0)), {"bars.volume"}),
    "twice": (
        rebarred(lambda t: pa.concat_tables([t.slice(0, 6), t.slice(5)])),
        {"bars.unique"},
    ),
    "out of order": (
        rebarred(
            lambda t: pa.concat_tables([t.slice(0, 5), t.slice(6, 1), t.slice(5, 1), t.slice(7)])
        ),
        {"bars.in-order"},
    ),
    "a session missing": (
        rebarred(lambda t: pa.concat_tables([t.slice(0, 5), t.slice(6)])),
        {"bars.missing-sessions"},
    ),
    "a bar on a holiday": (rebarred(holiday), {"bars.extra-sessions"}),
    "the last bar incomplete": (
        rebarred(lambda t: t, datetime(2025, 5, 30, 18, tzinfo=UTC)),
        {"bars.complete"},
    ),
    "a split nobody adjusted for": (
        rebarred(split, adjustment="split"),
        {"bars.unadjusted-split"},
    ),
    "stale": (rebarred(lambda t: t.slice(0, len(t) - 5)), {"bars.fresh"}),
    "a trade outside its day's bar": (
        rebarred(edited(5, open=500.0, high=501.0, low=499.0, close=500.0)),
        {"bars.trade-price-inside"},
    ),
    "a column of nothing": (
        rebarred(recast("volume", pa.null())),
        {"bars.types"},
    ),
}


@pytest.mark.parametrize(("kind", "name"), of("duckdb", BARS), indirect=["kind"])
def test_wrong_bars_are_found_and_nothing_else(installed: House, name: str) -> None:
    plant, rules = BARS[name]
    plant(installed)
    assert set(faults(installed.check())) == rules


def test_the_faults_are_many_enough() -> None:
    assert len(FILES) + len(LEDGER) + len(FLUXHERO) + len(BARS) >= 60
