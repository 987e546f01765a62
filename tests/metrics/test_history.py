"""Every flow's end is counted, by whichever process it ran in; and counting never changes an end."""

import ast
import logging
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from fluxhero.metrics.jobs import read_jobs
from tests.command import Run

REPOSITORY = Path(__file__).parents[2]
FLOWS = sorted((REPOSITORY / "flows").glob("[!_]*.py"))
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def data(clean_environment: Path) -> Path:
    """The data folder of the settings, which is there."""
    folder = clean_environment / "data"
    folder.mkdir()
    return folder


def history(data: Path) -> dict[str, dict[str, int]]:
    """Flow → runs by outcome, those that there are."""
    return {job.flow: {str(o): n for o, n in job.outcomes.items() if n} for job in read_jobs(data)}


def end(state: Any, **run: Any) -> None:
    """End a run of the archive flow in this state, as Prefect tells its hooks."""
    from prefect.client.schemas.objects import FlowRun

    from flows.archive_trades import archive_trades
    from tasks.history import count_run

    count_run(flow=archive_trades, flow_run=FlowRun(flow_id=uuid4(), **run), state=state)


@pytest.mark.parametrize("path", FLOWS, ids=lambda path: path.stem)
def test_every_flow_counts_its_runs(path: Path) -> None:
    (decorator,) = (
        ast.unparse(found)
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef)
        for found in node.decorator_list
        if isinstance(found, ast.Call)
    )
    assert "**HOOKS" in decorator, f"give the flow in {path.name} the hooks of tasks/history.py"
    assert f"name='{path.stem.replace('_', '-')}'" in decorator


def test_each_end_is_told_apart_and_timed(data: Path) -> None:
    from prefect.client.schemas.objects import State
    from prefect.states import Cancelling, Completed, Crashed, Failed

    later = NOON + timedelta(seconds=70)
    ends: list[tuple[State[Any], str]] = [
        (Completed(timestamp=later), "ok"),
        (Completed(name="Completed with findings", timestamp=later), "findings"),
        (Failed(timestamp=later), "failed"),
        (Crashed(timestamp=later), "crashed"),
        (Cancelling(timestamp=later), "cancelled"),
    ]
    for state, outcome in ends:
        end(state, start_time=NOON)
        assert history(data)["archive-trades"][outcome] == 1, outcome
    (job,) = read_jobs(data)
    assert (job.last_ended_at, job.last_seconds, job.last_ok) == (later, 70, False)
    end(Crashed(timestamp=later))  # as a worker tells it of a process that was killed
    end(Completed(timestamp=later), start_time=later + timedelta(seconds=5))  # a clock set back
    (job,) = read_jobs(data)
    assert (sum(job.durations), job.last_seconds, sum(job.outcomes.values())) == (6, 0, 7)


def test_what_is_not_counted(data: Path) -> None:
    from prefect.states import Completed, Failed

    end(Completed(), parameters={"dry_run": True})
    assert not list(data.iterdir()), "a dry run archives nothing"
    data.rmdir()
    end(Failed(), parameters={"dry_run": False})
    assert not data.exists(), "a wrong working folder is left as it is"


def test_broken_settings_are_not_said_a_second_time(
    data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from prefect.states import Failed

    monkeypatch.setenv("FLUXHERO_RETENTION_DAYS", "soon")
    with caplog.at_level(logging.INFO):
        end(Failed())
    assert caplog.text == ""
    assert not list(data.iterdir())


def test_what_cannot_be_written_is_said(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    from prefect.states import Completed

    (data / "runs").write_text("a file where the folder should be")
    end(Completed())
    assert "not in the history of archive-trades" in caplog.text
    assert str(data / "runs") in caplog.text


_ENDS = """
import os, signal, sys
from prefect import flow
from prefect.states import Completed
from tasks.history import HOOKS

@flow(name="tried", **HOOKS)
def tried(how):
    if how == "failed":
        raise ValueError(how)
    if how == "crashed":
        raise KeyboardInterrupt
    return Completed(name="Completed with findings" if how == "findings" else "Completed")

for how in sys.argv[1:]:
    try:
        tried(how, return_state=True)
    except KeyboardInterrupt:
        pass
"""


@pytest.mark.server
def test_prefects_engine_calls_it_at_every_end(data: Path, prefect_harness: str) -> None:
    ends = ("ok", "findings", "failed", "crashed", "ok")
    done = subprocess.run(
        [sys.executable, "-c", _ENDS, *ends],
        env={**os.environ, "PREFECT_API_URL": prefect_harness, "PYTHONPATH": str(REPOSITORY)},
        cwd=data.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert history(data) == {"tried": {"ok": 2, "findings": 1, "failed": 1, "crashed": 1}}
    (job,) = read_jobs(data)
    assert job.last_ok
    assert sum(job.durations) == len(ends)
    assert job.last_success_at == job.last_ended_at


@pytest.mark.server
def test_a_command_that_is_refused_counts_as_failed(
    data: Path, run: Run, prefect_harness: str
) -> None:
    (data.parent / "bars.csv").write_text("date,close\n")
    refused = run("refresh", "bars.csv")
    assert refused.status == 2
    assert history(data) == {"refresh-market-data": {"failed": 1}}
