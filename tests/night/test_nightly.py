"""The night as a whole: its steps, what stops it, what it says, and how the command ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from prefect.client.schemas.objects import State, StateType
from prefect.states import Failed

from fluxhero.archive.lock import archive_lock
from fluxhero.archive.workspace import Workspace
from fluxhero.broker.watermark import Watermark, write_watermark
from fluxhero.errors import StoreLockedError
from fluxhero.metrics.jobs import RunOutcome, read_jobs
from fluxhero.night.nightly_report import Ended, NightReport, Step
from tasks.nightly import night_as, run_step
from tasks.policy import RETRIES
from tests import samples
from tests.alpaca_http import KEY, SECRET
from tests.archive.conftest import make_house
from tests.archive.test_resources import locked
from tests.broker.trading_server import Trading, serving, working
from tests.command import Run
from tests.deployed import post
from tests.house import House

AT = datetime(2026, 11, 30, 1, 30, tzinfo=UTC)
STEPS = ("broker", "ingest", "archive", "check", "snapshot")


def night(*ended: Ended, broker: Ended = "skipped", status: int = 3) -> NightReport:
    steps = [
        Step(
            name=name,
            ended=how,
            came_to=f"what {name} came to.",
            seconds=1.25,
            exit_status=status if how == "failed" else 0,
            url=f"http://ui/{name}",
        )
        for name, how in zip(STEPS, (broker, *ended), strict=True)
    ]
    return NightReport(began_at=AT, ended_at=AT, steps=tuple(steps))


def test_a_step_whose_result_is_missing_is_judged_by_its_state() -> None:
    """As a server gives a state back that it was too slow to confirm."""
    found = State[Any](
        type=StateType.COMPLETED, name="Completed with findings", message="1 refused."
    )
    step = run_step("archive", lambda: found)
    assert (step.ended, step.came_to, step.exit_status) == ("findings", "1 refused.", 1)
    failed = State[Any](type=StateType.FAILED, message="Check: 3 critical.")
    step = run_step("check", lambda: failed)
    assert (step.ended, step.exit_status) == ("failed", 1)
    assert "Check: 3 critical." in step.came_to


@pytest.mark.parametrize(
    ("report", "verdict", "status"),
    [
        (night("ok", "ok", "ok", "ok"), "All done: ingest, archive, check, snapshot.", 0),
        (night("skipped", "ok", "ok", "ok"), "All done: archive, check, snapshot.", 0),
        (
            night("ok", "ok", "findings", "ok"),
            "Done with findings (ingest, archive, check, snapshot). check: what check came to.",
            1,
        ),
        (
            night("ok", "failed", "not run", "ok"),
            "stopped at archive: what archive came to; check was not run",
            3,
        ),
        (
            night("failed", "not run", "not run", "failed", status=2),
            (
                "stopped at ingest: what ingest came to; archive was not run; check was not run; "
                "snapshot failed too: what snapshot came to"
            ),
            2,
        ),
        (night("skipped", "ok", "ok", "failed"), "stopped at snapshot: what snapshot came to", 3),
        (
            night("not run", "not run", "not run", "ok", broker="failed"),
            (
                "stopped at broker: what broker came to; ingest was not run; archive was not run; "
                "check was not run"
            ),
            3,
        ),
        (
            night("ok", "ok", "ok", "ok", broker="ok"),
            "All done: broker, ingest, archive, check, snapshot.",
            0,
        ),
    ],
)
def test_the_answer_comes_first(report: NightReport, verdict: str, status: int) -> None:
    assert report.verdict == verdict
    assert report.exit_status == status
    assert report.ok == (status == 0)
    assert report.markdown().startswith(f"**{verdict}**\n")


def test_a_night_whose_check_finds_something_critical_says_so_in_its_state() -> None:
    found = night_as(night("ok", "ok", "failed", "ok", status=1))
    assert (found.type.value, found.name) == ("FAILED", "Critical findings")
    assert night_as(night("ok", "failed", "not run", "ok")).name == "Failed"


def test_the_page_has_every_step_with_a_link_to_its_run() -> None:
    text = night("ok", "failed", "not run", "ok").markdown()
    assert "| [archive](http://ui/archive) | Failed | 1.2 | what archive came to. |" in text
    costly = night("ok", "ok", "ok", "ok").model_copy(update={"cost": "Orchestration: 9 %."})
    assert "- Orchestration: 9 %." in costly.markdown()


def artifacts_of(run_id: str) -> dict[str, str]:
    found = post("/artifacts/filter", artifacts={"flow_run_id": {"any_": [run_id]}})
    return {one["key"]: str(one["data"]) for one in found}


def a_night(**parameters: Any) -> tuple[Any, NightReport]:
    """Run the flow; its state and its report."""
    from flows.nightly import nightly

    state: Any = nightly(**parameters, return_state=True)
    report = state.result(raise_on_failure=False)
    assert isinstance(report, NightReport), report
    return state, report


@pytest.fixture
def house(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """A DuckDB store with three trades that are due."""
    made = make_house("duckdb", clean_environment, monkeypatch)
    samples.create_duckdb_store(made.store)
    made.add(1, 2, 3)
    return made


@contextmanager
def asking_a_broker(house: House, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trading]:
    """Within the block, the night asks a broker whose account was fetched before, so that its mode is known."""
    with serving() as trading:
        for name, value in {
            "NIGHTLY_BROKER": "true",
            "ALPACA_API_URL": trading.url,
            "ALPACA_API_KEY": KEY,
            "ALPACA_API_SECRET": SECRET,
        }.items():
            monkeypatch.setenv(f"FLUXHERO_{name}", value)
        store_id = house.workspace.store.identity()
        mark = Watermark(account=trading.number, mode="paper", store_id=store_id, moved_at=AT)
        write_watermark(house.data, mark)
        yield trading


@pytest.mark.server
def test_a_night_fetches_brings_in_archives_checks_and_measures(
    house: House, prefect_harness: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "trades.jsonl"
    file.write_text(
        '{"trade_id": "n-1", "mode": "paper", "symbol": "AAPL", "side": "long", "quantity": "1",'
        ' "entry_price": "10", "entry_time": "2026-01-05T15:00:00Z", "status": "open"}\n'
    )
    with asking_a_broker(house, monkeypatch) as trading:
        trading.orders = [working(1, "2026-01-05T15:00:00Z")]
        state, report = a_night(imports=[str(file)])
    assert [step.name for step in report.steps] == list(STEPS)
    assert report.steps[0].ended == "ok", report.verdict
    assert "1 order and 0 activities fetched. Ingested 1 new" in report.steps[0].came_to
    assert report.steps[2].ended == "ok", report.verdict
    assert "purged 3 rows" in report.steps[2].came_to
    assert state.message == report.verdict
    pages = artifacts_of(str(state.state_details.flow_run_id))
    assert all(f"/runs/flow-run/{step.run_id}" in pages["nightly"] for step in report.steps)
    assert sorted(job.flow for job in read_jobs(house.data)) == [
        "archive-trades",
        "check-storage",
        "ingest-broker",
        "ingest-trades",
        "nightly",
        "snapshot-metrics",
    ]


@pytest.mark.server
def test_a_step_that_fails_stops_what_depends_on_it_and_the_snapshot_is_taken(
    house: House, prefect_harness: str
) -> None:
    with archive_lock(Workspace.of(house.settings).layout, "a test"):
        state, report = a_night()
    assert [step.ended for step in report.steps][:4] == ["skipped", "skipped", "failed", "not run"]
    assert report.steps[0].came_to.startswith("FLUXHERO_NIGHTLY_BROKER does not say")
    assert report.steps[4].ended in {"ok", "findings"}
    assert state.is_failed()
    assert state.message.startswith("stopped at archive: the archive")
    assert "in use by a test" in state.message
    assert state.message.endswith("; check was not run")
    jobs = {job.flow: job for job in read_jobs(house.data)}
    assert jobs["nightly"].outcomes[RunOutcome.FAILED] == 1
    assert jobs["snapshot-metrics"].last_ok
    assert "check-storage" not in jobs


@pytest.mark.server
def test_what_fails_to_come_in_stops_the_archive(house: House, prefect_harness: str) -> None:
    state, report = a_night(imports=[str(house.data / "no-such.csv")])
    assert [step.ended for step in report.steps][1:4] == ["failed", "not run", "not run"]
    assert [step.came_to for step in report.steps][2:4] == ["ingest failed", "archive was not run"]
    assert "no-such.csv" in state.message


@pytest.mark.server
def test_a_broker_that_cannot_be_asked_stops_what_writes(
    house: House, prefect_harness: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUXHERO_NIGHTLY_BROKER", "true")
    state, report = a_night()
    assert [step.ended for step in report.steps][:4] == ["failed", *["not run"] * 3]
    assert report.steps[4].ended in {"ok", "findings"}
    assert "FLUXHERO_ALPACA_API_KEY is not set" in state.message


@pytest.mark.server
def test_a_step_that_raises_what_nobody_foresaw_is_named(
    house: House, prefect_harness: str
) -> None:
    from flows import nightly as module

    def broken(**_given: Any) -> Any:
        return Failed(message="ZeroDivisionError", data=ZeroDivisionError("division by zero"))

    with patch.object(module, "archive_trades", broken):
        state, report = a_night()
    assert report.exit_status == 3
    assert "stopped at archive: ZeroDivisionError: division by zero" in state.message


@pytest.mark.server
def test_the_command_ends_with_the_exit_status_of_the_step_that_failed(
    data: Path, run: Run, prefect_harness: str
) -> None:
    ended = run("nightly", "--json")
    assert ended.status == 2, ended.err
    assert ended.document["verdict"].startswith("stopped at archive: there is no store")
    assert [step["ended"] for step in ended.document["steps"]][3] == "not run"


@pytest.mark.server
def test_a_store_that_stays_locked_is_tried_again_and_then_reported_with_who_holds_it(
    house: House, prefect_harness: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.archive_trades import archive_trades

    monkeypatch.setenv("FLUXHERO_LOCK_TIMEOUT_SECONDS", "0.2")
    with locked("duckdb", house.store, 120):
        state: Any = archive_trades(return_state=True)
    assert state.is_failed()
    error = state.result(raise_on_failure=False)
    assert isinstance(error, StoreLockedError)
    assert f"the store {house.store} is open in another process" in str(error)
    assert "PID" in str(error)
    tried = post(
        "/task_runs/filter",
        flow_runs={"id": {"any_": [str(state.state_details.flow_run_id)]}},
        task_runs={"state": {"type": {"any_": ["FAILED"]}}},
    )
    assert [one["run_count"] for one in tried] == [RETRIES + 1]
    assert house.archive().purged == 3, "what was locked is not lost"
