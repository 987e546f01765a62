"""The flow as a whole: what it measures, keeps and says, and how it ends."""

import json
import shutil
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from unittest.mock import patch

import pytest

from config.logging import configure_logging
from fluxhero.commands.output import show_report, show_table
from fluxhero.errors import DamagedFileError, ForeignStoreError, StorageIOError
from fluxhero.integrity.findings import Area, State, finding_files, latest_findings
from fluxhero.integrity.waivers import add_waivers, waivers_file
from fluxhero.ledger.query import run_query
from fluxhero.metrics.breaker import Change, Level, reset, states
from fluxhero.metrics.equity import read_curve
from fluxhero.metrics.jobs import RunOutcome, RunRecord, record_run
from fluxhero.metrics.snapshots import latest_snapshot
from tests import samples
from tests.archive.conftest import KINDS, make_house
from tests.command import Run
from tests.house import House, plain_tasks
from tests.integrity import sound
from tests.waiting import wait_for

NOW = samples.AS_OF


@pytest.fixture
def ledger(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """An empty DuckDB store."""
    house = make_house("duckdb", clean_environment, monkeypatch)
    samples.create_duckdb_store(house.store)
    return house


@pytest.fixture(params=KINDS)
def sound_house(
    request: pytest.FixtureRequest, clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> House:
    house = make_house(request.param, clean_environment, monkeypatch)
    create = (
        samples.create_duckdb_store if house.kind == "duckdb" else samples.create_fluxhero_store
    )
    create(house.store)
    return sound.sound_house(house)


def result(house: House, number: int, amount: int, *, days: int = 0) -> None:
    """A closed trade with this result."""
    at = NOW - timedelta(days=10 - days)
    house.add(
        number, realized_pnl=Decimal(amount), exit_time=at, entry_time=at - timedelta(hours=1)
    )


def values(house: House, name: str) -> dict[str, float]:
    """Label values, joined → value in the last snapshot."""
    found = latest_snapshot(house.data, NOW + timedelta(days=1)).snapshot
    assert found is not None
    return {
        "/".join(text for _, text in one.labels): one.value
        for one in found.samples
        if one.name == f"trading_{name}"
    }


def test_a_sound_ledger_is_measured_whole(sound_house: House) -> None:
    report = sound_house.snapshot()
    closed = [deal.pnl for deal in sound.deals() if not deal.open]
    fees = 2 * sound.FEE * len(closed)
    if sound_house.kind == "duckdb":
        expected = sound.CAPITAL + 5_000 + sum(closed)
        assert {(line.basis, line.equity) for line in report.accounts} == {
            ("closed", expected),
            ("marked", expected + 5),
        }
        assert values(sound_house, "orders_total") == {"live/alpaca/filled": 2 * len(closed) + 1}
    else:  # whose results have no fees
        assert [line.equity for line in report.accounts] == [sound.CAPITAL + sum(closed) + fees]
        assert values(sound_house, "orders_total") == {}
        assert values(sound_house, "order_fill_latency_window_samples") == {}
    assert report.ok
    assert report.verdict.startswith("Within every limit. live (closed) ")
    assert values(sound_house, "trades_closed_total")["live/win"] == sum(
        pnl + (0 if sound_house.kind == "duckdb" else 2 * sound.FEE) > 0 for pnl in closed
    )
    assert read_curve(sound_house.data).num_rows > 60
    assert sound_house.check().ok, "what a snapshot keeps is sound in a check's eyes"


def test_snapshots_can_be_queried_and_become_one_file_a_day(ledger: House) -> None:
    result(ledger, 1, 500)
    for day in range(3):
        ledger.snapshot(now=NOW + timedelta(days=day))
        ledger.snapshot(now=NOW + timedelta(days=day, hours=1))
    rows = run_query(
        ledger.workspace,
        "SELECT timestamp::DATE, count(DISTINCT run), max(value) FROM snapshots "
        "WHERE name = 'trading_equity_usd' GROUP BY 1 ORDER BY 1",
    ).rows
    assert [(str(day), runs, value) for day, runs, value in rows] == [
        ("2025-06-01", 2, 100_500.0),
        ("2025-06-02", 2, 100_500.0),
        ("2025-06-03", 2, 100_500.0),
    ]
    kept = {
        str(path.relative_to(ledger.data / "snapshots")).split("/")[0]
        for path in (ledger.data / "snapshots").rglob("*.parquet")
    }
    assert kept == {"2025-06-01.parquet", "2025-06-02.parquet", "2025-06-03"}


def test_an_exact_loss_of_a_fifth_is_critical_and_stays_so(ledger: House) -> None:
    result(ledger, 1, 50_000)
    result(ledger, 2, -30_000, days=1)  # 120,000 of 150,000
    tripped = ledger.snapshot()
    assert not tripped.ok
    assert tripped.verdict.startswith("Drawdown breaker: live critical.")
    assert values(ledger, "breaker_state")["live/critical"] == 1
    assert values(ledger, "limit_breached")["live/drawdown_critical"] == 1

    result(ledger, 3, 40_000, days=2)
    recovered = ledger.snapshot(now=NOW + timedelta(minutes=5))
    assert values(ledger, "drawdown_ratio")["live/closed"] == 0
    assert not recovered.breached
    assert not recovered.ok, "nobody has reset the breaker"
    assert [(line.level, line.changed) for line in recovered.breaker] == [(Level.CRITICAL, False)]

    reset(ledger.data, None, "position size halved", now=NOW + timedelta(minutes=6))
    again = ledger.snapshot(now=NOW + timedelta(minutes=10))
    assert again.ok
    assert states(ledger.data)["live"].level is Level.OK


def test_a_trip_is_told_although_its_numbers_cannot_be_kept(
    ledger: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import snapshot_metrics as module
    from tasks import metrics as steps

    result(ledger, 1, -20_000)
    monkeypatch.setenv("FLUXHERO_METRICS_TEXTFILE", str(ledger.store / "no-folder" / "x.prom"))
    told: list[Sequence[Change]] = []
    with (
        plain_tasks(module, {}),
        patch.object(steps, "utc_now", lambda: NOW),
        patch.object(module, "tell_of_breaker", told.append),
        pytest.raises(StorageIOError),
    ):
        module.snapshot_metrics.fn()
    assert [change.after for change in told[0]] == [Level.CRITICAL]


def test_runs_of_one_second_overwrite_nothing(ledger: House) -> None:
    result(ledger, 1, 500)
    runs = {ledger.snapshot(now=NOW + timedelta(milliseconds=n)).run for n in range(4)}
    assert len({run[:16] for run in runs}) == 1, "their names begin with the same second"
    kept = run_query(ledger.workspace, "SELECT count(DISTINCT run) FROM snapshots").rows
    assert list(kept) == [(len(runs),)]
    assert len(runs) > 2


def test_just_less_than_the_warning_is_fine(ledger: House) -> None:
    result(ledger, 1, 50_000)
    ledger.add(
        2,
        realized_pnl=Decimal("-22499.99"),
        exit_time=NOW - timedelta(days=1),
        entry_time=NOW - timedelta(days=2),
    )
    assert ledger.snapshot().ok
    ledger.edit(2, "realized_pnl = -22500")
    warned = ledger.snapshot(now=NOW + timedelta(minutes=5))
    assert warned.verdict.startswith("Drawdown breaker: live warning.")
    ledger.edit(2, "realized_pnl = -22499.99")
    assert ledger.snapshot(now=NOW + timedelta(minutes=10)).ok, "a warning ends by itself"


def test_a_missing_result_is_no_zero_and_not_fine(ledger: House) -> None:
    result(ledger, 1, 50_000)
    result(ledger, 2, -30_000, days=1)
    ledger.snapshot()
    ledger.edit(1, "realized_pnl = NULL")
    report = ledger.snapshot(now=NOW + timedelta(minutes=5))
    assert not report.ok
    assert report.accounts == ()
    assert values(ledger, "equity_usd") == values(ledger, "drawdown_ratio") == {}
    assert values(ledger, "trades_unusable")["live/no_result"] == 1
    assert values(ledger, "breaker_state")["live/critical"] == 1, "it is still what it was"
    assert "limits.equity-unknown" in {line.rule for line in report.breached}


def test_breaches_are_findings_with_a_life_and_can_be_waived(ledger: House) -> None:
    result(ledger, 1, 500)
    ledger.add(2, status="open", exit_time=None, exit_price=None, realized_pnl=None)
    for minutes in range(0, 20, 5):
        report = ledger.snapshot(now=NOW + timedelta(minutes=minutes))
    assert [(line.rule, line.state) for line in report.breached] == [
        ("limits.no-stop", State.KNOWN)
    ]
    assert len(finding_files(ledger.data, Area.LIMITS)) == 1, "a file a change, not one a snapshot"
    kept = run_query(ledger.workspace, "SELECT rule, state FROM findings WHERE count > 0").rows
    assert kept == (("limits.no-stop", "new"),)

    until = NOW + timedelta(days=1)
    add_waivers(
        waivers_file(ledger.data), "limits.no-stop", (), reason="mental stop", at=NOW, until=until
    )
    assert ledger.snapshot(now=NOW + timedelta(minutes=30)).ok
    ledger.edit(2, "stop_loss = 99")
    ledger.snapshot(now=NOW + timedelta(minutes=35))
    latest = latest_findings(ledger.data, NOW + timedelta(hours=1), Area.LIMITS)
    assert {one.state for one in latest} == {State.RESOLVED, State.SOUND}
    assert ledger.check().ok is not None, "a check's findings are another life"
    assert len(finding_files(ledger.data, Area.LIMITS)) == 3


def test_a_damaged_list_of_waivers_waives_nothing(
    ledger: House, caplog: pytest.LogCaptureFixture
) -> None:
    ledger.add(1, status="open", exit_time=None, exit_price=None, realized_pnl=None)
    path = waivers_file(ledger.data)
    path.parent.mkdir(parents=True)
    path.write_text("[{")
    assert not ledger.snapshot().ok
    assert "no limit is waived" in caplog.text


def test_the_node_exporter_gets_a_file(ledger: House, monkeypatch: pytest.MonkeyPatch) -> None:
    target = ledger.data / "textfile" / "fluxhero.prom"
    monkeypatch.setenv("FLUXHERO_METRICS_TEXTFILE", str(target))
    result(ledger, 1, 500)
    report = ledger.snapshot()
    assert report.textfile == str(target)
    assert f"For the node exporter: {target}" in report.details()
    assert 'trading_equity_usd{basis="closed",mode="live"} 100500.0\n' in target.read_text()


def test_an_empty_ledger_says_so(ledger: House) -> None:
    report = ledger.snapshot()
    assert report.ok
    assert report.verdict.startswith("Nothing to measure")
    assert report.markdown().startswith("**Nothing to measure")


def test_without_a_store_there_is_nothing_to_run_on(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = make_house("duckdb", clean_environment, monkeypatch)
    with pytest.raises(ForeignStoreError):
        house.snapshot()
    assert not house.data.exists()


def test_a_damaged_archive_is_named_and_nothing_is_kept(ledger: House) -> None:
    ledger.add(1, 2, 3)
    ledger.archive()
    (file,) = (ledger.archive_dir / "trades").rglob("*.parquet")
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(DamagedFileError, match=file.name):
        ledger.snapshot()
    assert latest_snapshot(ledger.data, NOW).snapshot is None


def test_archiving_and_restoring_move_no_number(sound_house: House) -> None:
    def measured() -> dict[tuple[object, ...], float]:
        sound_house.snapshot()
        found = latest_snapshot(sound_house.data, NOW).snapshot
        shutil.rmtree(sound_house.data / "snapshots")  # the next one has the same time
        assert found is not None
        of_ledger = ("trading_hot", "trading_archive", "trading_purged", "trading_restored")
        return {
            (one.name, one.labels): one.value
            for one in found.samples
            if not one.name.startswith(of_ledger)
        }

    before = measured()
    sound_house.archive(retention_days=0)
    assert measured() == before
    batch = sound_house.chain.manifests[0].batch_id
    sound_house.restore(batch_id=batch, reason="a test")
    assert measured() == before


@pytest.mark.server
def test_the_command_runs_the_flow_and_tells_prefect(
    prefect_harness: str, ledger: House, run: Run, restored_logging: None
) -> None:
    import httpx

    configure_logging(ledger.settings)
    result(ledger, 1, 50_000)
    result(ledger, 2, -30_000, days=1)
    shown = run("snapshot")
    assert shown.status == 1
    assert shown.out.startswith("Drawdown breaker: live critical. live (closed) 120,000.00 USD, ")
    assert "fluxhero breaker reset" in shown.out
    document = json.loads(run("snapshot", "--json").out)
    assert document["ok"] is False
    assert document["accounts"][0]["equity"] == "120000.00000000"

    def events() -> list[str]:
        wanted = {"filter": {"event": {"prefix": ["fluxhero."]}}}
        answer = httpx.post(f"{prefect_harness}/events/filter", json=wanted)
        return [one["event"] for one in answer.json()["events"]]

    told = {"fluxhero.breaker.critical", "fluxhero.limit.breached"}
    wait_for(lambda: told <= {*events()}, 30)
    runs = httpx.post(f"{prefect_harness}/flow_runs/filter", json={}).json()
    assert {one["state_name"] for one in runs if one["name"].startswith("snapshot-metrics")} == {
        "Completed with findings"
    }
    jobs = json.loads((ledger.data / "runs" / "snapshot-metrics.json").read_text())
    assert jobs


def test_a_period_is_written_for_prometheus(ledger: House, run: Run) -> None:
    result(ledger, 1, 500)
    for hours in range(3):
        ledger.snapshot(now=NOW + timedelta(hours=hours))
    shown = run("snapshot", "--openmetrics", "--from", "2025-06-01T00:30", "--to", "2025-06-02")
    assert shown.status == 0
    lines = shown.out.splitlines()
    equity = [line for line in lines if line.startswith("trading_equity_usd{")]
    assert [line.split()[-2] for line in equity] == ["100500.0"] * 2
    assert lines[-1] == "# EOF"
    target = ledger.data / "backfill.om"
    assert (
        run("snapshot", "--openmetrics", "--from", "2025-06-01", "--out", str(target)).status == 0
    )
    assert target.read_text().endswith("# EOF\n")
    nothing = run("snapshot", "--openmetrics", "--from", "2020-01-01", "--to", "2020-02-01")
    assert "No snapshot from 2020-01-01" in nothing.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--from", "2025-01-01"], "--from goes with --openmetrics"),
        (["--openmetrics", "--json"], "leave --json out"),
        (["--openmetrics", "--from", "2025-01-02", "--to", "2025-01-01"], "--from is later"),
    ],
)
def test_options_that_make_no_sense_are_refused(run: Run, arguments: list[str], says: str) -> None:
    shown = run("snapshot", *arguments)
    assert shown.status == 2
    assert says in shown.err


def test_a_symbol_that_is_no_symbol_is_spelt_out(
    ledger: House, capsys: pytest.CaptureFixture[str]
) -> None:
    result(ledger, 1, 500)
    name = "\x1b[2J\r\n- EVIL"
    position = {"mode": "live", "symbol": name, "side": "long", "quantity": Decimal(9_000)}
    samples.insert_duckdb(ledger.store, "positions", position | {"entry_price": Decimal(10)})
    report = ledger.snapshot()
    assert r"live: \x1b[2J\r\n- EVIL is worth 90,000.00" in report.markdown()
    show_report(report, as_json=False)
    show_table(["symbol"], [[name]])
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert r"\x1b[2J" in shown


def test_one_damaged_history_of_runs_keeps_no_other_number_away(ledger: House) -> None:
    for flow in ("archive-trades", "check-storage"):
        record_run(
            ledger.data, RunRecord(flow=flow, outcome=RunOutcome.OK, ended_at=NOW, seconds=1)
        )
    (ledger.data / "runs" / "check-storage.json").write_text("{")
    ledger.snapshot()
    assert values(ledger, "job_last_run_success") == {"archive-trades": 1}
    assert values(ledger, "archive_lag_seconds") == {"": 0}
