"""The refresh flow against a real server: only what is missing is fetched, one symbol or many."""

import json
import os
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd
import pyarrow.parquet as pq
import pytest

from config.loading import load_settings
from config.settings import Settings
from fluxhero.alpaca_http import Patience
from fluxhero.errors import (
    AlreadyRunningError,
    BadInputError,
    ConfigurationError,
    ForeignStoreError,
)
from fluxhero.market import cache
from fluxhero.market.calendar import calendar_of
from fluxhero.market.report import RefreshReport
from fluxhero.market.timeframe import DAILY, Timeframe
from fluxhero.recorded import read_record
from tests import samples
from tests.house import plain_tasks
from tests.market.alpaca_server import Alpaca, bar, says, status

NEW_YORK = calendar_of("AAPL", "XNYS", date(2022, 1, 1))
MORNING = datetime(2024, 1, 17, 13, 30, tzinfo=UTC)  # a Wednesday; Monday was a holiday


def daily(first: str, last: str, start: float = 100.0, factor: float = 1.0) -> list[dict[str, Any]]:
    """A bar of each session, as Alpaca has them."""
    sessions = NEW_YORK.between(date.fromisoformat(first), date.fromisoformat(last))
    return [
        bar(NEW_YORK.midnight(one.day).strftime("%Y-%m-%dT%H:%M:%SZ"), (start + place) * factor)
        for place, one in enumerate(sessions)
    ]


def run(now: datetime = MORNING, **parameters: Any) -> RefreshReport:
    """The flow at a moment, without Prefect's engine."""
    from flows import refresh_market_data as module

    quick = Patience(attempts=2, first_pause=0.001)
    with (
        plain_tasks(module, {}),
        patch("tasks.market.utc_now", return_value=now),
        patch("fluxhero.market.alpaca.Patience", return_value=quick),
    ):
        return module.refresh_market_data.fn(**parameters)


def stored(settings: Settings, symbol: str = "AAPL", timeframe: str = "1d") -> cache.Cached:
    return cache.read(cache.path_of(settings.cache_dir, symbol, Timeframe.read(timeframe)))


def days(held: cache.Cached) -> list[str]:
    return [f"{at:%m-%d}" for at in held.bars["timestamp"].to_pylist()]


def test_only_what_is_missing_is_fetched(market: Settings, alpaca: Alpaca) -> None:
    alpaca.bars["AAPL"] = daily("2022-01-03", "2024-01-17")
    first = run(symbols=["aapl"])
    assert first.ok
    assert first.verdict == f"Added {first.lines[0].bars:,} new 1Day bars of 1 symbol."
    assert first.lines[0].first == datetime(2022, 1, 18, 5, tzinfo=UTC), "two years"
    assert days(stored(market))[-2:] == ["01-12", "01-16"]
    assert alpaca.asked[0]["start"] == "2022-01-17T13:30:00Z"
    assert alpaca.asked[0]["end"] == "2024-01-16T21:00:00Z"

    again = run(symbols=["AAPL"])
    assert len(alpaca.asked) == 1, "the exchange has had no session since"
    assert (again.ok, again.verdict) == (True, "Nothing new: 1 symbol up to date.")

    alpaca.bars["AAPL"] = daily("2022-01-03", "2024-01-25")
    at_night = datetime(2024, 1, 19, 2, tzinfo=UTC)
    assert run(at_night, symbols=["AAPL"]).lines[0].added == 2
    assert [alpaca.asked[1][name] for name in ("start", "end")] == [
        "2024-01-16T05:00:00Z",  # the last bar again: it tells whether older ones were adjusted anew
        "2024-01-18T21:00:00Z",
    ]
    record = read_record(cache.path_of(market.cache_dir, "AAPL", DAILY))
    assert record is not None
    assert record.written_at == at_night
    origin = stored(market).origin
    assert origin is not None
    assert (origin.provider, origin.adjustment, origin.timezone) == ("alpaca", "split", "UTC")


def test_raw_bars_are_fetched_after_the_last_one(market: Settings, alpaca: Alpaca) -> None:
    alpaca.bars["AAPL"] = daily("2024-01-02", "2024-01-31")
    run(symbols=["AAPL"], adjustment="raw", start=datetime(2024, 1, 1, tzinfo=UTC))
    run(MORNING + timedelta(days=2), symbols=["AAPL"])
    assert alpaca.asked[1]["start"] == "2024-01-17T05:00:00Z"
    assert alpaca.asked[1]["adjustment"] == "raw", "as the cache is"
    assert len(days(stored(market))) == 12
    with pytest.raises(BadInputError, match="is raw; split ones cannot be mixed in"):
        run(symbols=["AAPL"], adjustment="split")


def test_a_bar_that_is_not_over_is_not_stored(market: Settings, alpaca: Alpaca) -> None:
    alpaca.bars["AAPL"] = daily("2024-01-02", "2024-01-31")
    start = datetime(2024, 1, 2, tzinfo=UTC)
    for at, last in ((21, "01-16"), (21.25, "01-16"), (21.3, "01-17")):
        now = datetime(2024, 1, 17, tzinfo=UTC) + timedelta(hours=at)
        run(now, symbols=["AAPL"], start=start)
        assert days(stored(market))[-1] == last
    alpaca.troubles = [says(json.dumps({"bars": {"AAPL": daily("2024-01-16", "2024-01-19")}}))]
    early = run(now, symbols=["AAPL"], start=start)
    assert early.lines[0].left_out == 2, "whatever the provider sends"
    assert days(stored(market))[-1] == "01-17"


def test_prices_adjusted_anew_are_fetched_from_the_first_bar(
    market: Settings, alpaca: Alpaca
) -> None:
    alpaca.bars["AAPL"] = daily("2024-01-02", "2024-01-16")
    run(symbols=["AAPL"], start=datetime(2024, 1, 2, tzinfo=UTC))
    alpaca.bars["AAPL"] = daily("2024-01-02", "2024-01-18", factor=0.5)
    report = run(MORNING + timedelta(days=2), symbols=["AAPL"])
    assert report.lines[0].readjusted
    assert report.lines[0].changed == 10
    assert stored(market).bars["close"].to_pylist() == [50 + place / 2 for place in range(12)]
    assert "adjusted its prices anew: AAPL" in report.details()[1]
    assert report.verdict == "Added 2 new 1Day bars of 1 symbol, 10 corrected."


def test_a_start_fetches_again_and_mends(
    market: Settings, alpaca: Alpaca, caplog: pytest.LogCaptureFixture
) -> None:
    whole = daily("2024-01-02", "2024-01-16")
    alpaca.bars["AAPL"] = whole[:3] + whole[5:]
    run(symbols=["AAPL"], start=datetime(2024, 1, 2, tzinfo=UTC))
    alpaca.bars["AAPL"] = [whole[0] | {"c": 0.5}, *whole[1:]]
    assert run(symbols=["AAPL"]).lines[0].added == 0
    report = run(symbols=["AAPL"], start=datetime(2024, 1, 2, tzinfo=UTC))
    assert (report.lines[0].added, report.lines[0].changed) == (2, 1)
    assert "1 bars are other ones than the cache had, the first of 2024-01-02" in caplog.text


def minutes(day: str, first: str, count: int, step: int = 1) -> list[dict[str, Any]]:
    begin = datetime.fromisoformat(f"{day}T{first}")
    times = [begin + timedelta(minutes=step * place) for place in range(count)]
    return [bar(f"{at.isoformat()}Z", 10.0) for at in times]


def test_shorter_bars_are_those_of_the_regular_hours(market: Settings, alpaca: Alpaca) -> None:
    alpaca.bars["AAPL"] = minutes("2024-01-16", "14:25", 10) + minutes("2024-01-16", "20:55", 10)
    report = run(symbols=["AAPL"], timeframe="1Min", adjustment="raw")
    assert (report.lines[0].added, report.lines[0].left_out) == (10, 5)
    assert alpaca.asked[0]["timeframe"] == "1Min"
    assert alpaca.asked[0]["end"] == "2024-01-16T20:59:00Z"
    assert f"{stored(market, timeframe='1m').bars['timestamp'][-1].as_py():%H:%M}" == "20:59"
    assert run(symbols=["AAPL"], timeframe="1m").lines[0].added == 0
    assert len(alpaca.asked) == 1
    now = datetime(2024, 1, 17, 14, 50, 30, tzinfo=UTC)
    alpaca.bars["AAPL"] += minutes("2024-01-17", "14:30", 20)
    assert run(now, symbols=["AAPL"], timeframe="1m").lines[0].added == 4
    alpaca.bars["SPY"] = minutes("2024-01-16", "14:00", 8, step=60)
    run(symbols=["SPY"], timeframe="1Hour")
    assert stored(market, "SPY", "1h").bars.num_rows == 7, "14:00 to 20:59 overlap the session"


def test_a_pair_trades_on_sundays(market: Settings, alpaca: Alpaca) -> None:
    alpaca.bars["BTC/USD"] = [bar(f"2024-01-{day:02}T00:00:00Z", 40_000) for day in range(1, 18)]
    report = run(symbols=["btc/usd"])
    assert report.lines[0].added == 16
    assert Path(report.lines[0].file).name == "BTC%2FUSD_1d.parquet"


# ------------------------------------------------------------------------------ several symbols


def test_one_that_fails_does_not_stop_the_others(market: Settings, alpaca: Alpaca) -> None:
    symbols = [f"S{number:02}" for number in range(45)]
    for symbol in symbols:
        alpaca.bars[symbol] = daily("2024-01-10", "2024-01-16")
    del alpaca.bars["S01"]
    alpaca.troubles = [status(422, "invalid symbol: S00")]
    from flows import refresh_market_data as module

    steps: list[str] = []
    counted: dict[str, Callable[[], object]] = {"fetch_bars": lambda: steps.append("fetch")}
    with plain_tasks(module, counted), patch("tasks.market.utc_now", return_value=MORNING):
        report = module.refresh_market_data.fn(symbols=symbols)
    assert len(steps) <= 40
    assert not report.ok
    assert report.verdict == "Added 172 new 1Day bars of 43 symbols. 2 symbols failed."
    assert [one.symbol for one in report.failed] == ["S00", "S01"]
    assert "invalid symbol: S00" in report.failed[0].reason
    assert "no complete bar of S01 (1d) since 2022" in report.failed[1].reason
    assert len(report.table()) == 43
    assert "Failed: S00: " in report.markdown()
    alpaca.bars["S01"] = daily("2024-01-10", "2024-01-16")
    alpaca.troubles = [status(422)]
    with pytest.raises(BadInputError, match="S77"):
        run(symbols=["S77"], start=datetime(2024, 1, 2, tzinfo=UTC))
    alpaca.troubles = [status(500)] * 2
    broken = run(symbols=["S77"], start=datetime(2024, 1, 2, tzinfo=UTC))
    assert broken.verdict == "Nothing came in. 1 symbol failed."
    alpaca.troubles = [status(500)] * 100
    assert (
        run(symbols=symbols, start=datetime(2024, 1, 2, tzinfo=UTC))
        .details()[-1]
        .startswith("Failed: and 25")
    )


def test_refused_keys_end_the_run(
    market: Settings, alpaca: Alpaca, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUXHERO_ALPACA_API_SECRET", "another-secret")
    with pytest.raises(ConfigurationError, match="answers 403") as raised:
        run(symbols=["AAPL", "SPY"])
    assert len(alpaca.asked) == 1
    assert "another-secret" not in str(raised.value)


def test_symbols_of_open_trades(market: Settings, alpaca: Alpaca) -> None:
    with pytest.raises(ForeignStoreError):
        run()
    store = load_settings(env_file=None).store_path
    samples.create_duckdb_store(store)
    assert run().verdict == "Nothing to refresh: no trade is open, and no symbol was given."
    long_ago = datetime(2020, 3, 2, 15, tzinfo=UTC)
    still_open = {"status": "open", "exit_price": None, "exit_time": None}
    rows = [
        samples.ledger_trade(1, symbol="AAPL", **still_open),
        samples.ledger_trade(2, symbol="AAPL", entry_time=long_ago),
        samples.ledger_trade(
            3, symbol="SPY", entry_time=datetime(2024, 1, 3, tzinfo=UTC), **still_open
        ),
        samples.ledger_trade(4, symbol="OLD"),
    ]
    samples.insert_duckdb(store, "trades", *rows)
    alpaca.bars = {name: daily("2023-01-03", "2024-01-16") for name in ("AAPL", "SPY", "OLD")}
    assert [line.symbol for line in run().lines] == ["AAPL", "SPY"]
    assert [asked["start"][:10] for asked in alpaca.asked] == ["2020-02-01", "2022-01-17"]
    assert [line.symbol for line in run(symbols=["old"]).lines] == ["OLD"]
    store.write_bytes(b"no store " * 1000)
    with pytest.raises(ForeignStoreError):
        run()
    alpaca.bars["NEW"] = alpaca.bars["OLD"]
    assert run(symbols=["NEW"]).lines[0].bars == len(alpaca.bars["NEW"])
    assert alpaca.asked[-1]["start"][:10] == "2022-01-17", "two years, whatever the store is"


# -------------------------------------------------------------------------- files and odd caches


def test_files_are_merged(market: Settings, tmp_path: Path) -> None:
    (tmp_path / "AAPL_1d.csv").write_text(
        "t,o,h,l,c,v\n2024-01-11,1,3,0.5,2,10\n2024-01-12,1,3,0.5,2,10\n2024-01-17,1,3,0.5,2,10\n"
    )
    (tmp_path / "spy.csv").write_text("t,o,h,l,c,v\n2024-01-12,1,3,0.5,2,oops\n")
    (tmp_path / "empty.csv").write_text("t,o,h,l,c,v\n")
    paths = [str(tmp_path / name) for name in ("AAPL_1d.csv", "spy.csv", "empty.csv")]
    report = run(paths=paths)
    assert (report.ok, report.lines[0].added, report.lines[0].left_out) == (False, 2, 1)
    assert report.lines[0].adjustment == "unknown"
    assert "line 2: volume 'oops' is no number" in report.failed[0].reason
    assert "has no bars in it" in report.failed[1].reason
    more = tmp_path / "more.csv"
    more.write_text("t,o,h,l,c,v\n2024-01-10,1,3,0.5,2,10\n2024-01-12,1,3,0.5,2.5,10\n")
    line = run(paths=[str(more)], symbols=["aapl"], timezone="UTC").lines[0]
    assert (line.added, line.changed, line.bars) == (1, 1, 3)
    with pytest.raises(BadInputError, match="line 2"):
        run(paths=[paths[1]])
    with pytest.raises(BadInputError, match="whose bars are where"):
        run(paths=paths, symbols=["AAPL", "SPY"])
    with pytest.raises(BadInputError, match="named after 1d bars"):
        run(paths=paths[:1], timeframe="5Min")


def test_a_file_cannot_be_mixed_into_adjusted_prices(
    market: Settings, alpaca: Alpaca, tmp_path: Path
) -> None:
    alpaca.bars["AAPL"] = daily("2024-01-10", "2024-01-16")
    run(symbols=["AAPL"])
    path = tmp_path / "AAPL.csv"
    path.write_text("t,o,h,l,c,v\n2024-01-09T05:00:00Z,1,3,0.5,2,10\n")
    with pytest.raises(BadInputError, match="is split; unknown ones cannot be mixed in"):
        run(paths=[str(path)])
    assert run(paths=[str(path)], adjustment="split").lines[0].added == 1


def foreign(settings: Settings, last: str, **more: Sequence[float]) -> Path:
    """A file as FluxHero writes it."""
    found = [one["t"] for one in daily("2024-01-02", last)]
    values = {name: [10.0] * len(found) for name in cache.VALUES}
    times = pd.to_datetime(found).tz_convert(None)
    path = cache.path_of(settings.cache_dir, "AAPL", DAILY)
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame({"timestamp": times, **values, **more}).to_parquet(path, index=False)
    return path


def test_a_file_that_a_bot_began_is_carried_on(market: Settings, alpaca: Alpaca) -> None:
    foreign(market, "2024-01-05", rsi=[50.0] * 4)
    alpaca.bars["AAPL"] = daily("2024-01-02", "2024-01-16")
    report = run(symbols=["AAPL"])
    assert alpaca.asked[0]["start"] == "2024-01-08T05:00:00Z"
    assert (report.lines[0].added, report.lines[0].bars) == (6, 10)
    assert report.lines[0].adjustment == "unknown"
    assert "is not known" in report.details()[1]
    held = stored(market)
    assert held.bars["rsi"].to_pylist() == [50.0] * 4 + [None] * 6
    assert (
        run(symbols=["AAPL"], adjustment="raw", start=datetime(2024, 1, 12, tzinfo=UTC))
        .lines[0]
        .adjustment
        == "raw"
    )


def test_a_bar_that_was_stored_too_early_is_fetched_again(market: Settings, alpaca: Alpaca) -> None:
    path = foreign(market, "2024-01-16")
    at = datetime(2024, 1, 16, 18, tzinfo=UTC).timestamp()
    os.utime(path, (at, at))
    alpaca.bars["AAPL"] = daily("2024-01-02", "2024-01-16")
    report = run(symbols=["AAPL"])
    assert alpaca.asked[0]["start"] == "2024-01-16T05:00:00Z"
    assert report.lines[0].changed == 1
    assert stored(market).bars["close"].to_pylist()[-1] == 109.0


def test_duplicates_of_a_foreign_file_and_its_disorder_go(market: Settings, alpaca: Alpaca) -> None:
    path = foreign(market, "2024-01-16")
    frame = pd.read_parquet(path)
    pd.concat([frame.iloc[::-1], frame]).to_parquet(path, index=False)
    assert run(symbols=["AAPL"]).lines[0].bars == len(frame)
    assert days(stored(market)) == sorted({f"{at:%m-%d}" for at in frame["timestamp"]})
    frame.iloc[::-1].to_parquet(path, index=False)
    run(symbols=["AAPL"])
    assert days(stored(market))[-1] == "01-16", "in order again, though nothing was new"


def test_a_damaged_cache_is_kept_aside_and_fetched_again(market: Settings, alpaca: Alpaca) -> None:
    alpaca.bars["AAPL"] = daily("2024-01-02", "2024-01-16")
    run(symbols=["AAPL"])
    path = cache.path_of(market.cache_dir, "AAPL", DAILY)
    path.write_bytes(path.read_bytes()[:500])
    report = run(symbols=["AAPL"])
    assert not report.ok
    assert report.lines[0].added == 10
    aside = Path(report.lines[0].set_aside or "")
    assert aside.parent == market.data_dir / "quarantine" / "files"
    assert aside.stat().st_size == 500
    assert f"Damaged, moved to {aside} and fetched again: {path}" in report.details()
    assert run(symbols=["AAPL"]).ok
    pq.write_table(pq.read_table(path).drop(["close"]).replace_schema_metadata(), path)
    with pytest.raises(BadInputError, match="has no column close"):
        run(symbols=["AAPL"])


def test_parameters_that_make_no_sense(market: Settings) -> None:
    for given, message in (
        ({"symbols": ["AAPL", " "]}, "is no symbol"),
        ({"timeframe": "1Week"}, "no timeframe"),
        ({"start": datetime(2999, 1, 1, tzinfo=UTC)}, "lies in the future"),
        ({"adjustment": "splits"}, "no adjustment 'splits'; did you mean 'split'|no adjustment"),
        ({"feed": "sips"}, "no feed 'sips'"),
    ):
        with pytest.raises(BadInputError, match=message):
            run(**given)
    with cache.cache_lock(market.cache_dir), pytest.raises(AlreadyRunningError):
        run(symbols=["AAPL"])
    assert list(market.cache_dir.glob("*.parquet")) == []


@pytest.fixture
def command(
    capsys: pytest.CaptureFixture[str], restored_logging: None
) -> Callable[..., tuple[int, str]]:
    """Run `fluxhero` in this process; its status and what it printed."""
    from fluxhero.cli import main

    def call(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        return int(str(ended.value.code)), capsys.readouterr().out

    return call


@pytest.mark.server
def test_the_command(market: Settings, alpaca: Alpaca, command: Any, prefect_harness: str) -> None:
    alpaca.bars["AAPL"] = daily("2024-01-02", "2024-01-31")
    code, out = command("refresh", "AAPL", "NONE", "--start", "2024-01-02", "--json")
    document = json.loads(out)
    assert code == 1
    assert document["lines"][0]["added"] == 21
    assert document["failed"][0]["symbol"] == "NONE"
    code, out = command("refresh", "AAPL")
    assert (code, out.splitlines()[0]) == (0, "Nothing new: 1 symbol up to date.")
