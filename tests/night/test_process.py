"""One process: what it is told, what is known of its end, and that it ends with its parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from config.variables import NIGHT_SHIFT
from fluxhero.errors import NightShiftError, StorageIOError
from fluxhero.night import leftovers, process
from fluxhero.night.back_off import BackOff
from fluxhero.night.logs import bound, last_lines, open_log
from fluxhero.night.process import Process
from tests.waiting import wait_for

pytestmark = pytest.mark.measured

REPOSITORY = Path(__file__).parents[2]
WAIT_SECONDS = 30


def runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def started(folder: Path, script: str, **variables: str) -> Process:
    command = (sys.executable, "-c", script)
    return Process(command, {**os.environ, **variables}, REPOSITORY, folder / "logs" / "it.log")


def test_it_has_a_session_of_its_own_and_its_output_is_kept(tmp_path: Path) -> None:
    one = started(tmp_path, "import os; print(os.getsid(0) == os.getpid(), os.getcwd())")
    wait_for(lambda: one.status is not None, WAIT_SECONDS)
    assert one.last_line == f"True {REPOSITORY}"
    assert one.ending == f"ended with status 0: True {REPOSITORY}"


def test_ignored_signals_are_taken_again(tmp_path: Path) -> None:
    show = (
        "import signal, sys\n"
        "print([signal.getsignal(s) == signal.SIG_IGN for s in (2, 15, 1)], signal.pthread_sigmask(0, []))"
    )
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (1, 2)}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        one = started(tmp_path, show)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        for number, handler in before.items():
            signal.signal(number, handler)
    wait_for(lambda: one.status is not None, WAIT_SECONDS)
    assert one.last_line == "[False, False, False] set()"


def test_it_ends_with_its_parent_even_if_that_is_killed(tmp_path: Path) -> None:
    parent_script = (
        "import os, pathlib, sys, time\n"
        "from fluxhero.night.process import Process\n"
        f"log = pathlib.Path({str(tmp_path)!r}) / 'it.log'\n"
        "script = 'import time; time.sleep(600)'\n"
        "one = Process((sys.executable, '-c', script), dict(os.environ), pathlib.Path('.'), log)\n"
        "print(one.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        [sys.executable, "-c", parent_script], stdout=subprocess.PIPE, text=True, env=environment
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        wait_for(lambda: "600" in " ".join(psutil.Process(pid).cmdline()[1:3]), WAIT_SECONDS)
        parent.kill()
    wait_for(lambda: not runs(pid), WAIT_SECONDS)


def test_a_child_whose_parent_is_gone_before_it_begins_does_not_begin() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "fluxhero.night.child", "1", "--", sys.executable, "-c", "print(1)"],
        cwd=REPOSITORY,
        capture_output=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (3, b"")


def test_one_that_is_deaf_is_killed(tmp_path: Path) -> None:
    deaf = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True)\n"
        "time.sleep(600)"
    )
    one = started(tmp_path, deaf)
    wait_for(lambda: one.last_line == "deaf", WAIT_SECONDS)
    assert not one.end(0.2)
    assert one.ending == "ended by SIGKILL"
    assert one.end(0.2)  # again does nothing


def test_a_signal_without_a_name_has_its_number() -> None:
    assert process._signal_name(99) == "signal 99"


def test_what_cannot_be_started_is_said(tmp_path: Path) -> None:
    with pytest.raises(NightShiftError, match="cannot be started"):
        Process(("x",), dict(os.environ), tmp_path / "nowhere", tmp_path / "it.log")
    (tmp_path / "file").touch()
    with pytest.raises(StorageIOError):
        Process(("x",), dict(os.environ), tmp_path, tmp_path / "file" / "it.log")


# ---- logs


def test_a_log_is_bounded_while_it_is_written(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "part.log"
    writer = open_log(log)
    try:
        os.write(writer, b"first\n" * 100)
        assert not bound(log, largest=600)
        assert bound(log, largest=599)
        os.write(writer, b"second\n")
    finally:
        os.close(writer)
    assert log.read_bytes() == b"second\n"
    assert log.with_name("part.log.1").read_bytes() == b"first\n" * 100
    assert not bound(tmp_path / "none.log")


def test_the_last_lines_say_something_and_are_safe_to_show(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    log.write_bytes(b"one\n\x1b[31mtwo\x1b[0m\n\x07bell \xff\n ------ \n\n")
    assert last_lines(log, 2) == ["two", "\\x07bell �"]
    ours = tmp_path / "ours.log"
    ours.write_text('{"level": "error", "message": "no room"}\n[3]\n')
    assert last_lines(ours, 2) == ["no room", "[3]"]
    assert last_lines(log, 9, since=4) == ["two", "\\x07bell �"]
    assert last_lines(log, 1, since=10_000) == ["\\x07bell �"]  # it was begun anew
    assert last_lines(tmp_path / "none.log", 2) == []


# ---- back-off


def test_back_off_grows_to_a_minute_and_begins_again_after_five_minutes_up() -> None:
    one = BackOff()
    assert [one.after(1) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert one.after(299) == 60
    assert [one.after(300), one.after(0)] == [1, 2]


# ---- leftovers


def test_only_what_has_the_token_is_ended(tmp_path: Path) -> None:
    mine, other = f"mine-{tmp_path}", f"other-{tmp_path}"
    script = "import time; time.sleep(600)"
    with (
        subprocess.Popen(
            [sys.executable, "-c", script], env={**os.environ, NIGHT_SHIFT: mine}
        ) as a,
        subprocess.Popen(
            [sys.executable, "-c", script], env={**os.environ, NIGHT_SHIFT: mine}
        ) as b,
        subprocess.Popen(
            [sys.executable, "-c", script], env={**os.environ, NIGHT_SHIFT: other}
        ) as c,
    ):
        try:
            wait_for(lambda: len(leftovers.find(mine)) == 2, WAIT_SECONDS)
            assert leftovers.find(mine, since=time.time() + 3600) == []
            assert [p.pid for p in leftovers.find(mine, spared=[b.pid])] == [a.pid]
            assert leftovers.end(mine, spared=[b.pid]) == 1
            assert (a.wait(), b.poll(), c.poll()) == (-signal.SIGTERM, None, None)
            assert leftovers.end(mine) == 1
            assert leftovers.end(mine) == 0
            assert c.poll() is None
        finally:
            for one in (a, b, c):
                one.kill()


def test_no_token_means_nothing() -> None:
    assert leftovers.find("") == []
    assert leftovers.end("") == 0
