"""What a run costs: steps against the rest, whichever threads and processes do the work."""

import inspect
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import UTC, datetime
from pathlib import Path

import cloudpickle
import psutil
import pytest

from fluxhero.night.cpu import RunCost, _cpu, night_cpu, own_cpu, used_between
from fluxhero.night.state import NightState, Part, PartState, Standing, process_created, write_state
from tasks.archive import check_archive
from tasks.cost import CostMeter, cost_line, measured_cost, metered
from tasks.policy import io_task, publishing_task

TICK = 0.03  # threads' times come in hundredths of a second
BURN = "import time\nwhile time.process_time() < {seconds}: pass"


def burn(seconds: float) -> None:
    """Use the CPU for so long in this thread."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_a_step_is_work_and_the_rest_is_not() -> None:
    with measured_cost() as meter:
        before = own_cpu()
        metered(burn)(0.2)
        burn(0.1)
        after = own_cpu()
    cost = meter.so_far()
    assert 0.19 <= cost.work <= after - before - 0.09
    assert cost.process >= after
    assert cost.orchestration == pytest.approx(cost.process - cost.work)


def test_what_a_step_leaves_to_threads_and_processes_is_work() -> None:
    @metered
    def step() -> None:
        thread = threading.Thread(target=burn, args=[0.1])
        thread.start()
        thread.join()
        subprocess.run([sys.executable, "-c", BURN.format(seconds=0.2)], check=True)

    with measured_cost() as meter:
        step()
    assert meter.so_far().work >= 0.29


def test_threads_that_ran_before_are_not_the_steps() -> None:
    """Prefect sends logs and events from threads of its own."""
    stop, spent = threading.Event(), [0.0]
    step_is_over = threading.Event()

    def beside() -> None:
        stepping.wait()
        while not step_is_over.is_set():
            burn(0.01)
        spent[0] = time.thread_time()
        stop.wait()

    def step() -> None:
        stepping.set()
        burn(0.3)
        while not spent[0]:
            step_is_over.set()
            time.sleep(0.01)

    stepping = threading.Event()
    other = threading.Thread(target=beside)
    other.start()
    try:
        with measured_cost() as meter:
            before = own_cpu()
            metered(step)()
            used = own_cpu() - before
    finally:
        stop.set()
        other.join()
    work = meter.so_far().work
    assert spent[0] > 0.05
    assert work >= 0.28
    assert work <= used - spent[0] + TICK


def test_steps_beside_each_other_count_once() -> None:
    with measured_cost() as meter:
        before = own_cpu()
        with ThreadPoolExecutor(2) as pool:
            for running in [pool.submit(copy_context().run, metered(burn), 0.2) for _ in range(2)]:
                running.result()
        used = own_cpu() - before
    assert 0.35 <= meter.so_far().work <= used


def test_a_step_within_a_step_counts_once() -> None:
    with measured_cost() as meter:
        before = own_cpu()
        metered(lambda: metered(burn)(0.1))()
        used = own_cpu() - before
    assert 0.09 <= meter.so_far().work <= used


def test_a_step_that_fails_counts() -> None:
    def fails() -> None:
        burn(0.1)
        raise ValueError

    with measured_cost() as meter:
        with pytest.raises(ValueError):  # noqa: PT011
            metered(fails)()
        burn(0.2)
    assert 0.09 <= meter.so_far().work < 0.2


def test_a_flow_within_a_flow_adds_to_the_outer_meter() -> None:
    with measured_cost() as outer:
        with measured_cost() as inner:
            metered(burn)(0.1)
        assert inner is outer
        assert cost_line() is not None
    assert outer.so_far().work >= 0.09


def test_where_nothing_measures_a_step_is_just_run_and_there_is_no_line() -> None:
    assert cost_line() is None
    assert metered(lambda: 3)() == 3


def test_a_step_that_reports_has_its_own_work_in_the_line() -> None:
    @metered
    def reports() -> RunCost:
        burn(0.2)
        return meter.so_far()

    meter = CostMeter()
    with meter.step():
        burn(0.2)
        assert meter.so_far().work >= 0.19


def test_broken_settings_are_the_first_steps_to_report(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUXHERO_RETENTION_DAYS", "many")
    with measured_cost():
        line = cost_line()
    assert line is not None
    assert "server" not in line


def test_a_task_keeps_signature_documentation_source_and_name() -> None:
    assert list(inspect.signature(check_archive.fn).parameters) == ["run"]
    assert (check_archive.fn.__doc__ or "").startswith("Make sure that the archive")
    assert check_archive.source_code is not None
    assert "def check_archive" in check_archive.source_code
    assert check_archive.name == "check-archive"
    assert check_archive.task_key.startswith("check_archive-")


def test_a_step_can_be_sent_to_another_process() -> None:
    sent = cloudpickle.loads(cloudpickle.dumps(metered(burn)))
    with measured_cost() as meter:
        sent(0.1)
    assert meter.so_far().work >= 0.09


def test_publishing_is_orchestration() -> None:
    with measured_cost() as meter:
        publishing_task(burn).fn(0.1)
        assert meter.so_far().work == 0.0
        io_task(burn).fn(0.1)
        assert meter.so_far().work >= 0.09


# ------------------------------------------------------------------------------ the night shift


def night(data: Path, **pids: int | None) -> None:
    """A night shift, supervised by this process, whose parts have these pids."""
    now = datetime.now(UTC)
    write_state(
        data,
        NightState(
            token="t",
            pid=os.getpid(),
            created=process_created(os.getpid()),
            started_at=now,
            api_url="http://127.0.0.1:1/api",
            ui_url="http://127.0.0.1:1",
            page_url=None,
            parts=tuple(
                PartState(part=Part(name), standing=Standing.UP, since=now, pid=pid)
                for name, pid in pids.items()
            ),
        ),
    )


WAITING = """
import subprocess, sys, time
children = [subprocess.Popen([sys.executable, "-c", c]) for c in sys.argv[1:]]
print("ready", flush=True)
for line in sys.stdin:
    until = time.process_time() + float(line)
    while time.process_time() < until: pass
    print("done", flush=True)
for child in children: child.kill(), child.wait()
"""


@pytest.fixture
def server() -> "subprocess.Popen[str]":
    """A process that computes for as many seconds as a line of its standard input says."""
    return subprocess.Popen(
        [sys.executable, "-c", WAITING, BURN.format(seconds=0.3) + "\ntime.sleep(600)"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_server_and_worker_count_from_the_beginning_of_the_run(
    data: Path, server: "subprocess.Popen[str]"
) -> None:
    assert server.stdin is not None
    assert server.stdout is not None
    with server:
        server.stdout.readline()
        night(data, server=server.pid, worker=os.getpid(), api=server.pid, alerts=None)
        before = night_cpu(data)
        with measured_cost() as meter:
            server.stdin.write("0.3\n")
            server.stdin.flush()
            server.stdout.readline()
            cost = meter.so_far()
        after = night_cpu(data)
        children = len(after[Part.SERVER])
        server.stdin.close()
    assert cost.parts.keys() == {Part.SERVER, Part.WORKER}
    assert 0.28 <= cost.parts[Part.SERVER] <= sum(used_between(before, after).values())
    assert cost.parts[Part.WORKER] == 0  # this very process, which counts as the run's
    assert children == 2


def test_a_server_that_was_started_anew_counts_from_its_start() -> None:
    before = {Part.SERVER: {(7, 1.0): 40.0}}
    after = {Part.SERVER: {(8, 9.0): 3.0}, Part.WORKER: {(9, 2.0): 1.0}}
    assert used_between(before, after) == {Part.SERVER: 3.0, Part.WORKER: 1.0}


def test_without_a_night_shift_only_the_process_counts(data: Path) -> None:
    assert night_cpu(data) == night_cpu(None) == {}


def test_a_part_that_has_ended_uses_nothing(data: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    night(data, server=ended.pid, worker=None)
    assert night_cpu(data) == {Part.SERVER: {}}


def test_a_process_that_ends_while_it_is_looked_at_is_left_out() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as ending:
        process = psutil.Process(ending.pid)
    assert _cpu(process) is None


def test_the_line_says_the_share_and_where() -> None:
    cost = RunCost(process=11.1, work=6.0, parts={Part.SERVER: 2.8, Part.WORKER: 0.3})
    assert cost.line == (
        "CPU 14.2 s: work 6.0 s, orchestration 8.2 s (58 %: this process 5.1, server 2.8, worker 0.3)"
    )
    alone = RunCost(process=2.0, work=1.0, parts={})
    assert alone.line == "CPU 2.0 s: work 1.0 s, orchestration 1.0 s (50 %: this process 1.0)"
    assert RunCost(process=0.0, work=0.0, parts={}).share == 0.0
