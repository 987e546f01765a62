"""The history of runs: counted once each, kept through damage, writers at once and clocks set back."""

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from filelock import FileLock

from fluxhero.errors import AlreadyRunningError, DamagedFileError
from fluxhero.metrics import jobs
from fluxhero.metrics.families import JOBS, family_of
from fluxhero.metrics.jobs import (
    RunOutcome,
    RunRecord,
    job_samples,
    read_job,
    read_jobs,
    readable_jobs,
    record_run,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def ended(
    outcome: str = "ok", at: datetime = NOON, seconds: float | None = 2.5, flow: str = "archive"
) -> RunRecord:
    return RunRecord(flow=flow, outcome=RunOutcome(outcome), ended_at=at, seconds=seconds)


def values(data_dir: Path) -> dict[str, float]:
    """Name and labels but the flow's → value."""
    found = {}
    for one in job_samples(read_jobs(data_dir)):
        family = family_of(one.name)
        assert family in JOBS
        names = tuple(name for name, _ in one.labels if name != "le")
        assert names == family.labels
        rest = "".join(f" {value}" for name, value in one.labels if name != "job_name")
        found[one.name.removeprefix("trading_") + rest] = one.value
    return found


def test_every_run_counts_and_the_last_one_tells(tmp_path: Path) -> None:
    runs = [
        ended("ok", NOON, 0.4),
        ended("findings", NOON + timedelta(hours=1), 15.0),
        ended("failed", NOON + timedelta(hours=2), 20_000.0),
        ended("cancelled", NOON + timedelta(hours=3), 15.1),
        ended("crashed", NOON + timedelta(hours=4), None),
    ]
    for run in runs:
        record_run(tmp_path, run)
    found = values(tmp_path)
    assert found.pop("job_last_success_timestamp_seconds") == runs[1].ended_at.timestamp()
    assert found.pop("job_last_run_timestamp_seconds") == runs[4].ended_at.timestamp()
    assert found.pop("job_last_run_success") == 0
    assert found.pop("job_duration_seconds_sum") == pytest.approx(20_030.5)
    assert found.pop("job_duration_seconds_count") == 4, "one of them nobody could time"
    outcomes = {name.split()[1]: found.pop(name) for name in list(found) if "runs_total" in name}
    assert outcomes == dict.fromkeys(RunOutcome, 1)
    buckets = {name.split()[1]: value for name, value in found.items()}
    assert buckets == {
        "1.0": 1, "5.0": 1, "15.0": 2, "60.0": 3, "300.0": 3, "900.0": 3, "3600.0": 3, "14400.0": 3, "+Inf": 4
    }  # fmt: skip


def test_a_clock_set_back_does_not_hide_the_last_run(tmp_path: Path) -> None:
    record_run(tmp_path, ended("failed", NOON + timedelta(days=400)))
    job = record_run(tmp_path, ended("ok", NOON))
    assert (job.last_ok, job.last_ended_at, job.last_success_at) == (True, NOON, NOON)
    assert values(tmp_path)["job_last_duration_seconds"] == 2.5


def test_flows_have_a_file_each_and_none_is_lost_to_another_writer(tmp_path: Path) -> None:
    runs = [ended(flow=name) for name in ("archive", "check") for _ in range(20)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda run: record_run(tmp_path, run), runs))
    assert [(job.flow, job.outcomes[RunOutcome.OK]) for job in read_jobs(tmp_path)] == [
        ("archive", 20),
        ("check", 20),
    ]
    assert read_jobs(tmp_path / "nowhere") == []


def test_a_writer_waits_for_another_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_WAIT_SECONDS", 0.05)
    record_run(tmp_path, ended())
    with (
        FileLock(tmp_path / "runs" / "archive.lock"),
        pytest.raises(AlreadyRunningError, match=r"archive\.json"),
    ):
        record_run(tmp_path, ended())


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda _: "",
        lambda text: text.replace('"format_version": 1', '"format_version": 2'),
        lambda text: text.replace('"flow": "archive"', '"flow": "check"'),
        lambda text: json.dumps(json.loads(text) | {"durations": [1, 2]}),
    ],
    ids=["cut", "empty", "later", "other", "bands"],
)
def test_a_damaged_history_is_said_kept_aside_and_begun_anew(
    tmp_path: Path, damage: object, caplog: pytest.LogCaptureFixture
) -> None:
    assert callable(damage)
    for flow in ("archive", "check"):
        record_run(tmp_path, ended(flow=flow))
    path = tmp_path / "runs" / "archive.json"
    damaged = damage(path.read_text())
    path.write_text(damaged)
    with pytest.raises(DamagedFileError, match=r"archive\.json is damaged"):
        read_jobs(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert [job.flow for job in readable_jobs(tmp_path)] == ["check"]
        record_run(tmp_path, ended("failed"))
    assert "archive.json is damaged" in caplog.text
    assert "begins anew" in caplog.text
    (kept,) = (tmp_path / "quarantine" / "files").iterdir()
    assert kept.read_text() == damaged
    assert sum(read_job(path).outcomes.values()) == 1
    samples = [one.name for one in job_samples(read_jobs(tmp_path)[:1])]
    assert "trading_job_last_success_timestamp_seconds" not in samples, "never 0: nobody knows"


@pytest.mark.parametrize("flow", ["../archive", "Archive", "", "a/b", "a\n"])
def test_no_flow_can_name_another_file(flow: str) -> None:
    with pytest.raises(ValueError, match="flow"):
        ended(flow=flow)
