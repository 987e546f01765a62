"""The flow `ingest-broker` against a broker on this machine: what comes in, and nothing of it twice."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qsl, urlsplit

import duckdb
import pytest

from config.settings import Settings
from fluxhero.alpaca_http import Patience
from fluxhero.archive.lock import archive_lock
from fluxhero.archive.workspace import Workspace
from fluxhero.broker.report import BrokerReport
from fluxhero.broker.watermark import Watermark, path_of, read_watermark
from fluxhero.errors import (
    AlreadyRunningError,
    BadInputError,
    ConfigurationError,
    IntegrityError,
    ProviderError,
)
from tests import samples
from tests.alpaca_http import SECRET, answer, breaks_off, says, status
from tests.archive.conftest import make_house
from tests.broker.trading_server import (
    ORDERS,
    Trading,
    document,
    fill,
    order,
    order_id,
    other,
    working,
)
from tests.command import Run
from tests.house import plain_tasks

NOW = datetime(2024, 1, 10, 21, tzinfo=UTC)
QUICK = Patience(attempts=2, first_pause=0.001, longest_pause=0.5)


def run(
    now: datetime = NOW, after: dict[str, Callable[[], object]] | None = None, **parameters: Any
) -> BrokerReport:
    """The flow at a moment, without Prefect's engine; `after` makes something happen after a task."""
    from flows import ingest_broker as module

    given = {"mode": "paper", **parameters}
    with (
        plain_tasks(module, after or {}),
        patch("tasks.broker.utc_now", return_value=now),
        patch("fluxhero.broker.alpaca.Patience", return_value=QUICK),
    ):
        return module.ingest_broker.fn(**given)


def rows(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(settings.store_path), read_only=True) as db:
        return db.execute(sql).fetchall()


def everything(settings: Settings) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of the ledger."""
    tables = ("orders", "fills", "cash_flows", "quarantine")
    return {table: rows(settings, f"FROM {table} ORDER BY ALL") for table in tables}


def kept(settings: Settings) -> list[Path]:
    """The raw files."""
    return sorted(settings.data_dir.glob("imports/*.jsonl"))


def mark_of(settings: Settings, account: str = "PA3TEST0001") -> Watermark:
    found = read_watermark(settings.data_dir, account)
    assert found is not None
    return found


@pytest.fixture
def busy(trading: Trading) -> Trading:
    """A broker whose account has traded for a week."""
    trading.orders = [
        order(1, "2024-01-02T15:00:00.123456789Z"),
        order(2, "2024-01-03T15:00:00Z", side="sell", status="canceled", filled_qty="0",
              filled_avg_price=None, filled_at=None, canceled_at="2024-01-03T16:00:00Z"),
        working(3, "2024-01-04T15:00:00Z", time_in_force="gtc"),
        order(4, "2024-01-09T15:00:00Z", qty="0.5", filled_qty="0.5"),
    ]  # fmt: skip
    trading.activities = [
        other(1, "2024-01-01", "CSD", "25000"),
        fill(2, "2024-01-02T15:00:01.5Z", 1),
        fill(3, "2024-01-09T15:00:01Z", 4, qty="0.5", cum_qty="0.5"),
        other(4, "2024-01-09", "FEE", "-0.02"),
        other(5, "2024-01-10", "DIV", "1.02", symbol="AAPL", qty="10", per_share_amount="0.102"),
    ]
    return trading


def test_what_the_account_did_comes_in_once(broker: Settings, busy: Trading) -> None:
    first = run()
    assert first.ok, first.markdown()
    assert first.verdict.startswith(
        "Alpaca paper account PA3TEST0001: 4 orders and 5 activities fetched. Ingested "
    )
    assert (first.orders, first.activities) == (4, 5)
    assert first.details()[0].endswith(
        "orders since the account's beginning, activities since the account's beginning"
    )
    assert {line.file for line in first.lines} == {
        "alpaca-orders.jsonl",
        "alpaca-activities.jsonl",
    }
    assert len(rows(broker, "FROM orders")) == 4
    assert len(rows(broker, "FROM fills")) == 2
    assert len(rows(broker, "FROM cash_flows")) == 3
    assert rows(broker, "SELECT DISTINCT mode FROM orders UNION SELECT mode FROM fills") == [
        ("paper",)
    ]
    accounts = "SELECT extra->>'account' FROM orders UNION SELECT account FROM fills"
    assert rows(broker, accounts) == [("PA3TEST0001",)]
    assert len(kept(broker)) == 2
    assert not list(first_folder(broker).glob("*.jsonl")), "what was fetched is done with"
    mark = mark_of(broker)
    assert mark.orders_since == datetime(2024, 1, 9, 15, tzinfo=UTC)
    assert mark.activities_since == datetime(2024, 1, 10, tzinfo=UTC)

    before = everything(broker)
    again = run(NOW + timedelta(hours=1))
    assert again.ok
    assert "Nothing new: the ledger has all " in again.verdict
    assert again.fetched_from.orders == datetime(2024, 1, 4, 14, 59, 59, tzinfo=UTC), "order 3"
    assert again.orders == 2
    assert everything(broker) == before
    assert len(kept(broker)) == 2, "what adds nothing is not kept"
    assert mark_of(broker) == mark.model_copy(update={"moved_at": NOW + timedelta(hours=1)})


def first_folder(settings: Settings) -> Path:
    return settings.data_dir / "tmp" / "ingest"


def test_an_order_that_changed_and_what_is_posted_late_come_in(
    broker: Settings, busy: Trading
) -> None:
    run()
    busy.orders[2] = order(
        3,
        "2024-01-04T15:00:00Z",
        filled_at="2024-01-11T15:00:00Z",
        updated_at="2024-01-11T15:00:00Z",
    )
    busy.activities += [
        fill(6, "2024-01-11T15:00:00Z", 3),
        other(7, "2023-12-29", "FEE", "-0.03"),
        other(8, "2023-12-20", "FEE", "-99"),
    ]
    report = run(NOW + timedelta(days=1))
    assert report.ok, report.markdown()
    assert rows(broker, f"SELECT status FROM orders WHERE order_id LIKE '%{order_id(3)}'") == [
        ("filled",)
    ]
    assert len(rows(broker, "FROM fills")) == 3
    assert len(rows(broker, "FROM cash_flows")) == 4, "two weeks back, and no more"
    assert mark_of(broker).activities_since == datetime(2024, 1, 11, 15, tzinfo=UTC)
    everything_again = run(NOW + timedelta(days=1), since=datetime(2023, 1, 1, tzinfo=UTC))
    assert not everything_again.gap
    assert len(rows(broker, "FROM cash_flows")) == 5


def test_a_run_that_is_stopped_before_the_mark_is_made_good_by_the_next(
    broker: Settings, busy: Trading
) -> None:
    class KilledError(Exception):
        pass

    def killed() -> None:
        raise KilledError

    with pytest.raises(KilledError):
        run(after={"bring_in": killed})
    assert read_watermark(broker.data_dir, "PA3TEST0001") is None
    before = everything(broker)
    assert len(before["orders"]) == 4
    report = run()
    assert "Nothing new: the ledger has all " in report.verdict
    assert everything(broker) == before
    assert mark_of(broker).orders_since is not None
    for task in ("fetch_orders", "fetch_activities"):
        with pytest.raises(KilledError):
            run(after={task: killed})
    assert run().ok


def test_trouble_in_the_midst_brings_nothing_in_and_moves_no_mark(
    broker: Settings, busy: Trading
) -> None:
    run()
    mark, before = mark_of(broker), everything(broker)
    busy.orders.append(order(5, "2024-01-10T15:00:00Z"))

    def broken_from(request: int) -> None:
        """The broker breaks off from that request of the run on; those before it are answered."""
        busy.asked.clear()
        passing = [_answered(busy)] * (request - 1)
        busy.troubles = [*passing, *[breaks_off] * 2]

    for request in (2, 5):
        broken_from(request)
        with pytest.raises(ProviderError, match="cannot be reached"):
            run()
        busy.troubles = []
        assert mark_of(broker) == mark
        assert everything(broker) == before
    assert run().orders == 3
    assert len(rows(broker, "FROM orders")) == 5


def _answered(trading: Trading) -> Callable[[Any], None]:
    """The answer that a server without trouble gives."""

    def fine(handler: Any) -> None:
        parts = urlsplit(handler.path)
        found = document(trading, parts.path, dict(parse_qsl(parts.query)))
        answer(handler, 200, json.dumps(found).encode())

    return fine


def test_refused_keys_end_the_run_at_once(
    broker: Settings, busy: Trading, monkeypatch: pytest.MonkeyPatch
) -> None:
    for code in (401, 403):
        busy.asked.clear()
        busy.troubles = [status(code, f"no {SECRET}")]
        with pytest.raises(ConfigurationError, match=f"answers {code}: no \\*\\*\\*"):
            run()
        assert len(busy.asked) == 1
    busy.asked.clear()
    monkeypatch.delenv("FLUXHERO_ALPACA_API_KEY")
    with pytest.raises(ConfigurationError, match="FLUXHERO_ALPACA_API_KEY is not set"):
        run()
    assert not busy.asked


def test_each_account_has_a_mark_of_its_own(broker: Settings, busy: Trading) -> None:
    run()
    busy.number = "PA3OTHER"
    busy.orders = [order(91, "2024-01-05T15:00:00Z")]
    busy.activities = [fill(92, "2024-01-05T15:00:01Z", 91)]
    busy.asked.clear()
    other_one = run()
    assert other_one.ok
    assert [asked.get("after") for asked in busy.asked][:2] == [None, None], "its whole history"
    assert mark_of(broker, "PA3OTHER").orders_since == datetime(2024, 1, 5, 15, tzinfo=UTC)
    assert mark_of(broker).orders_since == datetime(2024, 1, 9, 15, tzinfo=UTC)
    assert len(rows(broker, "FROM orders")) == 5


def test_since_fetches_again_and_says_where_it_leaves_a_gap(
    broker: Settings, busy: Trading
) -> None:
    first = run(since=datetime(2024, 1, 3, tzinfo=UTC))
    assert (first.orders, first.gap) == (3, False)
    mark = mark_of(broker)
    busy.orders.append(order(5, "2024-01-10T15:00:00Z"))
    late = run(since=datetime(2024, 1, 10, 12, tzinfo=UTC))
    assert late.orders == 1
    assert late.gap
    assert any(line.startswith("The watermark stays") for line in late.details())
    assert mark_of(broker).orders_since == mark.orders_since
    early = run(since=datetime(2024, 1, 2))  # noqa: DTZ001 - without an offset it is UTC
    assert (early.orders, early.gap) == (5, False)
    assert mark_of(broker).orders_since == datetime(2024, 1, 10, 15, tzinfo=UTC)
    with pytest.raises(BadInputError, match=r"--since 2024-01-11T.* lies in the future"):
        run(since=NOW + timedelta(days=1))


def test_a_damaged_mark_stops_the_run_and_since_writes_it_anew(
    broker: Settings, busy: Trading
) -> None:
    run()
    path = path_of(broker.data_dir, "PA3TEST0001")
    path.write_text("{")
    before = everything(broker)
    with pytest.raises(IntegrityError, match="is damaged → fetch again from before") as raised:
        run()
    assert str(path) in str(raised.value)
    assert run(since=datetime(2024, 1, 1, tzinfo=UTC)).ok
    assert everything(broker) == before
    assert mark_of(broker).orders_since == datetime(2024, 1, 9, 15, tzinfo=UTC)


def test_whether_money_is_real_is_never_guessed(
    broker: Settings, busy: Trading, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        BadInputError, match="does not tell whether the account PA3TEST0001 is live"
    ):
        run(mode=None)
    with pytest.raises(BadInputError, match="there is no mode 'legacy'"):
        run(mode="legacy")
    run(mode="live")
    assert run(mode=None).mode == "live", "as it was before"
    with pytest.raises(BadInputError, match="was fetched as live before, and is paper now"):
        run(mode="paper")
    monkeypatch.setenv("FLUXHERO_ALPACA_API_URL", "https://api.alpaca.markets")
    with pytest.raises(BadInputError, match=r"--mode paper does not go with https://api\.alpaca"):
        run(mode="paper")


def test_an_account_that_did_nothing(broker: Settings, trading: Trading) -> None:
    report = run()
    assert report.ok
    assert report.verdict.endswith("0 orders and 0 activities fetched. Nothing came in.")
    assert "Watermark: orders until none yet, activities until none yet" in report.details()
    trading.troubles = [says('{"account_number": "PA3TEST0001", "status": "ACCOUNT_CLOSED"}')]
    assert "The broker calls the account ACCOUNT_CLOSED" in run().details()


def test_a_row_that_cannot_be_used_goes_to_quarantine_and_the_mark_moves_on(
    broker: Settings, busy: Trading
) -> None:
    busy.orders[3] |= {"status": "teleported"}
    report = run()
    assert not report.ok
    assert "1 row went to quarantine" in report.verdict
    assert len(rows(broker, "FROM orders WHERE submitted_at IS NOT NULL")) == 3
    assert mark_of(broker).orders_since == datetime(2024, 1, 9, 15, tzinfo=UTC)
    assert run().ok, "known to be unusable"


def test_a_bots_own_database_is_not_written(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = make_house("sqlite", clean_environment, monkeypatch)
    samples.create_fluxhero_store(house.store)
    with pytest.raises(ConfigurationError, match="the bot writes it, nothing is ingested"):
        run()


def test_no_other_run_may_write_meanwhile(broker: Settings, busy: Trading) -> None:
    layout = Workspace.of(broker).layout
    with archive_lock(layout, "a test"), pytest.raises(AlreadyRunningError, match="a test"):
        run()
    assert not busy.asked
    assert run().ok


@pytest.mark.server
def test_the_command_says_what_came(
    broker: Settings, busy: Trading, run: Run, prefect_harness: str
) -> None:
    ended = run("ingest-broker", "--mode", "paper", "--since", "2024-01-01", "--json")
    assert ended.status == 0, ended.err
    assert ended.document["account"] == "PA3TEST0001"
    assert (ended.document["orders"], ended.document["activities"]) == (4, 4)
    assert SECRET not in ended.out + ended.err
    assert ORDERS in busy.paths
    refused = run("ingest-broker", "--mode", "dream")
    assert refused.status == 2
    assert "there is no mode 'dream'" in refused.err
