"""How the runs of each flow ended: a small file a flow, which outlives the server that ran it.

Prefect forgets runs, and a command's temporary server forgets them all. These files are what the
metrics of jobs come from, so that their counters never fall.
"""

import logging
from bisect import bisect_left
from collections.abc import Sequence
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from fluxhero.durable import move_aside, read_bytes, storage_errors, write_atomically
from fluxhero.errors import AlreadyRunningError, DamagedFileError
from fluxhero.locks import locked
from fluxhero.metrics.histograms import histogram_samples
from fluxhero.metrics.samples import Sample, sample

logger = logging.getLogger(__name__)

FOLDER = "runs"
BOUNDS: Final = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)  # seconds
_WAIT_SECONDS = 5  # the lock is held for one small write
_NAME = r"[a-z0-9][a-z0-9-]{0,99}"


class RunOutcome(StrEnum):
    """How a run ended; one with findings has done its work."""

    OK = "ok"
    FINDINGS = "findings"
    FAILED = "failed"
    CRASHED = "crashed"
    CANCELLED = "cancelled"

    @property
    def is_success(self) -> bool:
        """Whether the run did what it was for."""
        return self in {RunOutcome.OK, RunOutcome.FINDINGS}


class RunRecord(BaseModel):
    """One run that has ended; `seconds` is None where nobody knows when it began."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    flow: str = Field(pattern=f"^{_NAME}$")
    outcome: RunOutcome
    ended_at: AwareDatetime
    seconds: float | None = Field(ge=0, allow_inf_nan=False)


class Job(BaseModel):
    """What is known of all runs of a flow.

    Attributes:
        flow: its name.
        last_ended_at: when its last run ended.
        last_ok: whether that one did what it was for.
        last_success_at: when one last did.
        last_seconds: how long the last run took; None where nobody knows.
        outcomes: runs by outcome.
        durations: runs in each band of `BOUNDS`, and last those beyond.
        total_seconds: how long they took together.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    flow: str
    last_ended_at: AwareDatetime
    last_ok: bool
    last_success_at: AwareDatetime | None = None
    last_seconds: float | None = None
    outcomes: dict[RunOutcome, int] = {}
    durations: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)
    total_seconds: float = 0

    @model_validator(mode="after")
    def _whole(self) -> "Job":
        if len(self.durations) != len(BOUNDS) + 1:
            raise ValueError(f"should have {len(BOUNDS) + 1} bands of durations")
        return self


def record_run(data_dir: Path, run: RunRecord) -> Job:
    """Count a run that has ended.

    The run counted last is the last one, whatever a clock that was set back says. A history that is
    damaged is kept aside, and begins anew.

    Raises:
        AlreadyRunningError: other runs of this flow are being recorded all the time.
        StorageIOError: the operating system refuses.
    """
    path = _path(data_dir, run.flow)
    with locked(path.with_suffix(".lock"), lambda: _busy(path), wait_seconds=_WAIT_SECONDS):
        job = _with(_before(data_dir, path), run)
        write_atomically(path, job.model_dump_json(indent=1).encode() + b"\n")
    return job


def _with(job: Job | None, run: RunRecord) -> Job:
    outcomes = dict.fromkeys(RunOutcome, 0) | ({} if job is None else job.outcomes)
    outcomes[run.outcome] += 1
    durations = [0] * (len(BOUNDS) + 1) if job is None else list(job.durations)
    if run.seconds is not None:
        durations[bisect_left(BOUNDS, run.seconds)] += 1
    earlier = None if job is None else job.last_success_at
    return Job(
        flow=run.flow,
        last_ended_at=run.ended_at,
        last_ok=run.outcome.is_success,
        last_success_at=run.ended_at if run.outcome.is_success else earlier,
        last_seconds=run.seconds,
        outcomes=outcomes,
        durations=tuple(durations),
        total_seconds=(0 if job is None else job.total_seconds) + (run.seconds or 0),
    )


def _before(data_dir: Path, path: Path) -> Job | None:
    if not path.exists():
        return None
    try:
        return read_job(path)
    except DamagedFileError as error:
        kept = move_aside(path, data_dir / "quarantine" / "files")
        logger.warning("%s; it is kept as %s, and the history begins anew", error.what, kept)
        return None


def _path(data_dir: Path, flow: str) -> Path:
    return data_dir / FOLDER / f"{flow}.json"


def _busy(path: Path) -> AlreadyRunningError:
    return AlreadyRunningError(
        f"other processes keep writing {path}",
        next_step="see which runs of this flow are at work; the run itself is not affected",
    )


def job_files(data_dir: Path) -> list[Path]:
    """The file of each flow that has run, in order of their names."""
    folder = data_dir / FOLDER
    with storage_errors("look at", folder):
        return sorted(path for path in folder.glob("*.json") if not path.name.startswith("."))


def read_job(path: Path) -> Job:
    """The history of one flow.

    Raises:
        DamagedFileError: the file holds something else.
        StorageIOError: the operating system refuses.
    """
    content = read_bytes(path)
    try:
        job = Job.model_validate_json(content)
    except ValidationError as error:
        raise _damaged(path, error.errors()[0]["msg"]) from error
    if job.flow != path.stem:
        raise _damaged(path, f"it is of the flow {job.flow}")
    return job


def _damaged(path: Path, why: str) -> DamagedFileError:
    return DamagedFileError(
        f"the history of runs {path} is damaged: {why}",
        next_step="restore it from a backup; otherwise the flow's next run moves it to quarantine "
        "and begins anew",
    )


def read_jobs(data_dir: Path) -> list[Job]:
    """The histories of all flows that have run.

    Raises:
        DamagedFileError: one cannot be read.
        StorageIOError: the operating system refuses.
    """
    return [read_job(path) for path in job_files(data_dir)]


def readable_jobs(data_dir: Path) -> list[Job]:
    """The histories that can be read; a damaged one is said in the log and has no metrics meanwhile."""
    jobs = []
    for path in job_files(data_dir):
        try:
            jobs.append(read_job(path))
        except DamagedFileError as error:
            logger.warning("%s", error)
    return jobs


def job_samples(jobs: Sequence[Job]) -> list[Sample]:
    """The metrics of flows that have run."""
    return list(chain.from_iterable(map(_samples, jobs)))


def _samples(job: Job) -> list[Sample]:
    name = job.flow
    samples = [
        sample("job_last_run_timestamp_seconds", job.last_ended_at.timestamp(), job_name=name),
        sample("job_last_run_success", float(job.last_ok), job_name=name),
        *histogram_samples(
            "job_duration_seconds", BOUNDS, job.durations, job.total_seconds, job_name=name
        ),
        *(
            sample("job_runs_total", count, job_name=name, outcome=str(outcome))
            for outcome, count in sorted(job.outcomes.items())
        ),
    ]
    if job.last_success_at is not None:
        success = job.last_success_at.timestamp()
        samples.append(sample("job_last_success_timestamp_seconds", success, job_name=name))
    if job.last_seconds is not None:
        samples.append(sample("job_last_duration_seconds", job.last_seconds, job_name=name))
    return samples
