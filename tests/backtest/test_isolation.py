"""The boundary around a process: what it may take, what it sees, and that nothing of it is left."""

import sys
import time
from pathlib import Path

import psutil
import pytest

from fluxhero.backtest.isolation import Bounds, Ended, Outcome, run_isolated

pytestmark = pytest.mark.measured

ROOMY = Bounds(seconds=60, memory_mb=512)


def python(code: str, folder: Path, bounds: Bounds = ROOMY, **given: str) -> Outcome:
    return run_isolated(
        [sys.executable, "-I", "-c", code], folder=folder, bounds=bounds, environment=given
    )


def gone(pid: int) -> bool:
    """Whether a process ends soon; it was killed, and only its parent's wait is missing."""
    for _ in range(500):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.01)
    return False


def test_a_program_runs_and_is_measured(tmp_path: Path) -> None:
    outcome = python(
        "print('hello \\x1b[31m'); x = bytearray(60 << 20); sum(range(10**7))", tmp_path
    )
    assert (outcome.ended, outcome.exit_code, outcome.cause) == (Ended.DONE, 0, "")
    assert outcome.output == "hello \\x1b[31m\n"  # nothing that it prints moves our cursor
    assert outcome.peak_mb > 60
    assert outcome.cpu_seconds > 0
    assert outcome.seconds > 0


def test_it_sees_nothing_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FLUXHERO_AUTH_SECRET", "PREFECT_API_KEY", "PYTHONPATH", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "secret")
    code = (
        "import os; print(sorted(os.environ.items())); print(os.getcwd());"
        "print(os.path.expanduser('~'))"
    )
    outcome = python(code, tmp_path, GIVEN="yes")
    assert "secret" not in outcome.output
    assert "('GIVEN', 'yes')" in outcome.output
    assert outcome.output.splitlines()[1:] == [str(tmp_path / "work"), str(tmp_path / "home")]


@pytest.mark.parametrize(
    ("code", "ended", "cause"),
    [
        ("raise SystemExit(3)", Ended.FAILED, "ended with exit status 3"),
        ("import os; os.kill(os.getpid(), 11)", Ended.CRASHED, "was ended by SIGSEGV"),
        ("import os; os.kill(os.getpid(), 40)", Ended.CRASHED, "was ended by signal 40"),
        ("x = bytearray(20 << 30)", Ended.OUT_OF_MEMORY, "took more than 512 MiB of memory"),
        (
            "x = []\nwhile True: x.append(bytearray(b'x') * (16 << 20))",
            Ended.OUT_OF_MEMORY,
            "took more than 512 MiB of memory",
        ),
        ("while True: print('x' * 100_000)", Ended.FLOODED, "printed more than 64 MiB"),
    ],
)
def test_every_way_to_end_badly(code: str, ended: Ended, cause: str, tmp_path: Path) -> None:
    outcome = python(code, tmp_path)
    assert (outcome.ended, outcome.cause) == (ended, cause)
    assert len(outcome.output) <= 4_000


def test_what_takes_too_long_ends_with_all_that_it_started(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time\n"
        "for session in (False, True):\n"
        "    child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],\n"
        "                             start_new_session=session)\n"
        "    print(child.pid, flush=True)\n"
        "time.sleep(600)"
    )
    outcome = python(code, tmp_path, Bounds(seconds=2, memory_mb=512))
    assert (outcome.ended, outcome.exit_code) == (Ended.TIMED_OUT, -9)
    assert outcome.cause == "took longer than 2 seconds"
    children = [int(line) for line in outcome.output.split()]
    assert len(children) == 2
    assert all(gone(pid) for pid in children)


def test_what_a_finished_program_left_behind_ends_too(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys\n"
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).pid)"
    )
    outcome = python(code, tmp_path)
    assert outcome.ended is Ended.DONE
    assert gone(int(outcome.output))


def test_an_interrupted_wait_leaves_nothing_running(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"

    def interrupt() -> None:
        if pid_file.exists() and pid_file.read_text().endswith("\n"):
            raise KeyboardInterrupt

    code = (
        f"import os, time; open({str(pid_file)!r}, 'w').write(f'{{os.getpid()}}\\n');"
        "time.sleep(600)"
    )
    with pytest.raises(KeyboardInterrupt):
        run_isolated([sys.executable, "-c", code], folder=tmp_path, bounds=ROOMY, advance=interrupt)
    assert gone(int(pid_file.read_text()))


def test_no_file_grows_without_end_and_no_core_is_dumped(tmp_path: Path) -> None:
    code = "import resource as r; print(r.getrlimit(r.RLIMIT_FSIZE), r.getrlimit(r.RLIMIT_CORE))"
    time_to_limit = "import time; time.sleep(0.3);"
    outcome = python(time_to_limit + code, tmp_path)
    assert outcome.output == f"({2 << 30}, {2 << 30}) (0, 0)\n"


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        run_isolated([str(tmp_path / "none")], folder=tmp_path / "deep" / "er", bounds=ROOMY)
    assert not (tmp_path / "deep" / "er" / "output.txt").read_bytes()


def test_it_may_clear_its_folder_and_a_link_in_its_place_leads_nowhere(tmp_path: Path) -> None:
    theirs, folder = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir()
    (theirs / "kept").touch()
    clear = "import os, shutil; here = os.getcwd(); print(here); shutil.rmtree(here); "
    first = python(f"{clear} os.symlink({str(theirs)!r}, here)", folder)
    assert first.ended is Ended.DONE, first.output
    assert (folder / "work").is_symlink()
    # Started in the link, it would clear what the link leads to.
    second = python(clear, folder)
    assert second.ended is Ended.DONE, second.output
    assert second.output.strip() == str(folder / "work")
    assert (theirs / "kept").exists()
    (folder / "work").touch()
    assert python("print('up')", folder).output.strip() == "up"
    gone = python("import os; os.remove('../output.txt'); print('told all the same')", folder)
    assert gone.output.strip() == "told all the same"
