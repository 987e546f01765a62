"""Sweeps on Dask come to what they come to in threads, whatever ends on the way, and leave nothing behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any
from zoneinfo import ZoneInfo

import cloudpickle
import psutil
import pyarrow.parquet as pq
import pytest
from prefect import flow

from config.settings import Settings
from fluxhero.backtest import packed
from fluxhero.backtest.contract import Contract
from fluxhero.backtest.grid import read_grid
from fluxhero.backtest.isolation import Bounds
from fluxhero.backtest.packed import PackedPlan
from fluxhero.backtest.sources import sample_bars
from fluxhero.backtest.strategy import described
from fluxhero.backtest.sweep_parts import PartDone
from fluxhero.backtest.sweeps import SweepPlan, plan_sweep, sweep_outcome
from fluxhero.backtest.trials import trials_of
from fluxhero.errors import ClusterError, ConfigurationError
from tasks import cluster, dask_worker
from tasks.backtests import all_of, sweep_part
from tasks.cluster import CoresOrCluster, check_cluster
from tests.backtest.evaluating import evaluate
from tests.scale.as_deployed import ASKED
from tests.waiting import wait_for

pytestmark = pytest.mark.timeout(900)  # each process of a cluster imports all that a run does
REPOSITORY = Path(__file__).parents[2]
BOUNDS = Bounds(seconds=60, memory_mb=2_048)
PATIENCE_SECONDS = 120
COMBINATIONS = 256  # of either sweep
WAITING = """
import time
from pathlib import Path

HOME = Path(__file__).parent

class Waiting:
    def __init__(self, number: int = 0):
        self.number = number

    def targets(self, bars):
        if self.number == 3 and (HOME / "stop").exists():
            (HOME / "reached").touch()
            while (HOME / "stop").exists():
                time.sleep(0.02)
        return (bars["close"] > bars["close"].shift(1 + self.number)).astype(int)
"""


@flow(task_runner=CoresOrCluster(sweep_part))
def sweep(packed: PackedPlan, parts: int) -> list[PartDone]:
    """One sweep alone."""
    return all_of([sweep_part.submit(BOUNDS, None, packed, number) for number in range(parts)])


@pytest.fixture
def planned(data: Path) -> Callable[[], SweepPlan]:
    """A sweep of a user's own strategy that waits, half done, while there is a file `stop`."""
    (data.parent / "own_waiting.py").write_text(WAITING, encoding="utf-8")

    def plan() -> SweepPlan:
        return plan_sweep(
            described("own_waiting:Waiting"),
            read_grid(["number=0..255"]),
            sample_bars("IBM").bars.head(400),
            Contract(),
            data_dir=data,
            risk_free=0.0,
            zone=ZoneInfo("America/New_York"),
        )

    return plan


def workers() -> list[psutil.Process]:
    """Processes of the local cluster."""
    found = psutil.Process().children(recursive=True)
    return [one for one in found if "spawn_main" in " ".join(_command(one))]


def _command(process: psutil.Process) -> list[str]:
    try:
        command: list[str] = process.cmdline()
    except psutil.Error:
        return []
    return command


def run_as_deployed(api_url: str, data: Path) -> tuple[set[str], dict[psutil.Process, str]]:
    """Run it in a process of its own; the addresses it listened on, and its processes with their commands."""
    heard: set[str] = set()
    seen: dict[psutil.Process, str] = {}
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "tests.scale.as_deployed"],
        cwd=REPOSITORY,
        env={
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "PREFECT_API_URL": api_url,
            "FLUXHERO_DATA_DIR": str(data),
            "FLUXHERO_DASK_SCHEDULER": "local",
        },
        stdin=subprocess.DEVNULL,
    ) as process:
        try:
            while process.poll() is None:
                me = psutil.Process(process.pid)
                for one in (me, *me.children(recursive=True)):
                    seen[one] = " ".join(_command(one)) or seen.get(one, "")
                    heard |= _listens_on(one)
                time.sleep(1)  # looking costs CPU
        finally:
            process.kill()
    assert process.returncode == 0
    return heard, seen


def _listens_on(process: psutil.Process) -> set[str]:
    try:
        sockets = process.net_connections("inet")
    except psutil.Error:  # it has just ended
        return set()
    return {one.laddr.ip for one in sockets if one.status == psutil.CONN_LISTEN}


def parts_of(data: Path) -> list[dict[str, Any]]:
    files = sorted(data.glob("evaluations/sweeps/*/part-*.parquet"))
    assert len(files) == 3
    return [row for file in files for row in pq.read_table(file).to_pylist()]


@pytest.mark.server
def test_the_deployed_flow_on_a_local_cluster_comes_to_the_same_and_leaves_nothing_behind(
    prefect_harness: str, clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    near, far = clean_environment / "threads", clean_environment / "dask"
    heard, seen = run_as_deployed(prefect_harness, far)
    monkeypatch.setenv("FLUXHERO_DATA_DIR", str(near))
    evaluate(**ASKED)
    assert parts_of(far) == parts_of(near)
    assert len(parts_of(far)) == COMBINATIONS
    keep = ["parameters", "sharpe", "total_return", "trades", "outcome"]
    assert trials_of(far).select(keep).equals(trials_of(near).select(keep))
    assert heard == {"127.0.0.1"}
    assert sum("spawn_main" in command for command in seen.values()) >= (os.cpu_count() or 1)
    wait_for(lambda: not any(one.is_running() for one in seen), PATIENCE_SECONDS)
    assert not (far / "tmp" / "dask").exists()
    assert sorted(path.name for path in clean_environment.iterdir()) == ["dask", "threads"]


@pytest.mark.slow
@pytest.mark.server
def test_a_killed_worker_costs_nothing_but_time(
    prefect_harness: str,
    planned: Callable[[], SweepPlan],
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FLUXHERO_DASK_SCHEDULER", "local")
    plan, killed = planned(), kill_when_it_waits(data.parent)
    done = sweep(PackedPlan.of(plan), plan.parts)
    assert len(killed()) == 1
    assert sum(one.combinations for one in done) == COMBINATIONS
    assert sweep_outcome(plan).failed == 0
    assert not workers()


@pytest.mark.slow
@pytest.mark.server
def test_workers_that_end_again_and_again_are_told_and_the_next_run_goes_on(
    prefect_harness: str,
    planned: Callable[[], SweepPlan],
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import dask
    import distributed  # noqa: F401 - which brings its part of the configuration

    monkeypatch.setenv("FLUXHERO_DASK_SCHEDULER", "local")
    plan, killed = planned(), kill_when_it_waits(data.parent)
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        pytest.raises(ClusterError, match="lost work"),
    ):
        sweep(PackedPlan.of(plan), plan.parts)
    assert len(killed()) == 1
    assert not workers()
    monkeypatch.delenv("FLUXHERO_DASK_SCHEDULER")
    left = COMBINATIONS - sum(
        pq.read_metadata(one).num_rows for one in plan.folder.glob("part-*.parquet")
    )
    assert left
    done = sweep(PackedPlan.of(plan), plan.parts)
    assert sum(one.tried for one in done) == left, "what was done is not done again"
    assert sweep_outcome(plan).failed == 0


def kill_when_it_waits(folder: Path) -> Callable[[], list[int]]:
    """Kill the Dask worker that is at the waiting combination; call what is returned for its pid."""
    stop, reached = folder / "stop", folder / "reached"
    stop.touch()
    killed: list[int] = []

    def kill() -> None:
        wait_for(reached.exists, PATIENCE_SECONDS)
        (busy,) = [one for one in workers() if _computes(one)][:1]
        busy.send_signal(signal.SIGKILL)
        killed.append(busy.pid)
        stop.unlink()

    thread = Thread(target=kill, daemon=True)
    thread.start()

    def ended() -> list[int]:
        thread.join(PATIENCE_SECONDS)
        return killed

    return ended


def _computes(worker: psutil.Process) -> bool:
    return any("sweep_worker" in " ".join(_command(child)) for child in worker.children())


@pytest.fixture
def scheduler(data: Path) -> Iterator[str]:
    """A Dask scheduler with one worker, as somebody would start them on other machines; its address."""
    dask = [sys.executable, "-m", "dask"]
    folder = data.parent / "machines"
    folder.mkdir()
    found = folder / "scheduler.json"
    options = ["--no-dashboard", "--host", "127.0.0.1"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> None:
        with (folder / f"{arguments[0]}.log").open("wb") as log:
            command = [*dask, *arguments, *options]
            started.append(
                subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
            )

    try:
        start("scheduler", "--port", "0", "--scheduler-file", str(found))
        wait_for(found.exists, PATIENCE_SECONDS)
        start(
            *("worker", "--scheduler-file", str(found), "--no-nanny", "--nthreads", "1"),
            *("--preload", "tasks.dask_worker", "--local-directory", str(folder)),
        )
        yield str(json.loads(found.read_text())["address"])
    finally:
        for process in reversed(started):
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.mark.slow
@pytest.mark.server
def test_a_scheduler_of_ones_own(
    prefect_harness: str,
    planned: Callable[[], SweepPlan],
    scheduler: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from prefect.settings import PREFECT_API_URL

    assert PREFECT_API_URL.value() == prefect_harness
    monkeypatch.setenv("FLUXHERO_DASK_SCHEDULER", scheduler)
    plan = planned()
    done = sweep(PackedPlan.of(plan), plan.parts)
    assert sum(one.tried for one in done) == COMBINATIONS
    assert sweep_outcome(plan).failed == 0
    assert not workers(), "none of this process's own"


@pytest.mark.server
def test_a_scheduler_that_does_not_answer(
    prefect_harness: str, planned: Callable[[], SweepPlan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_CONNECT_SECONDS", 1)
    monkeypatch.setenv("FLUXHERO_DASK_SCHEDULER", "tcp://127.0.0.1:1")
    plan = planned()
    with pytest.raises(ClusterError, match=r"tcp://127\.0\.0\.1:1 does not answer"):
        sweep(PackedPlan.of(plan), plan.parts)


def test_dask_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    check_cluster(Settings(data_dir=data, dask_scheduler="local"))
    monkeypatch.setattr(cluster, "find_spec", lambda _name: None)
    check_cluster(Settings(data_dir=data))
    with pytest.raises(ConfigurationError, match=r"fluxhero-pipeline\[dask\]"):
        check_cluster(Settings(data_dir=data, dask_scheduler="local"))


def test_nothing_is_submitted_outside_a_run() -> None:
    with pytest.raises(RuntimeError, match="no flow run"):
        cluster._api_url()


def test_what_goes_to_another_machine_is_small_and_holds_no_secret(
    planned: Callable[[], SweepPlan], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned()
    handed = PackedPlan.of(plan)
    assert handed.plan() == plan
    assert len(handed.content) < 20_000
    monkeypatch.setenv("FLUXHERO_ALPACA_API_SECRET", "hush-hush-hush")
    sent = cloudpickle.dumps((sweep_part, sweep, handed))
    assert b"hush" not in sent
    monkeypatch.setattr(packed, "release", lambda: "0.0.1")
    with pytest.raises(ConfigurationError, match=r"runs release 0\.0\.1"):
        handed.plan()


def test_a_machine_without_the_data_folder(planned: Callable[[], SweepPlan]) -> None:
    plan = planned()
    handed = PackedPlan.of(plan)
    plan.bars_path.unlink()
    with pytest.raises(ConfigurationError, match="same data folder, at the same path"):
        handed.plan()


def test_a_process_of_the_cluster_logs_as_the_run_does_and_ends_silently(
    data: Path, restored_logging: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_exit: list[Callable[[], None]] = []
    ended: list[int] = []
    monkeypatch.setattr("atexit.register", at_exit.append)
    monkeypatch.setattr("os._exit", ended.append)
    dask_worker.dask_setup(None)
    (leave,) = at_exit
    leave()
    assert ended == [0]
