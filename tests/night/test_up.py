"""`fluxhero up` and `down` as a user runs them, with the real server, worker, page and courier."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from config.night_shift import running_api_url
from config.prefect_env import prefect_api_url
from config.variables import NIGHT_SHIFT
from fluxhero.errors import ServerError
from fluxhero.night import leftovers
from fluxhero.night.server_api import ServerApi
from fluxhero.night.state import NightState, last_state
from tests.night.shift import UP_SECONDS, Shift

pytestmark = pytest.mark.measured

LONG_SECONDS = 900  # on a machine that does much else, a server starts for minutes

SLEEPY = """
import time
from prefect import flow

@flow
def sleepy():
    while True:
        time.sleep(0.2)
"""


@pytest.fixture(scope="module")
def shift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shift]:
    """One night shift that runs; the tests below use it one after the other, and the last ones end it."""
    shift = Shift(tmp_path_factory.mktemp("night"))
    try:
        yield shift.up()
    finally:
        shift.stop()
        if state := last_state(shift.data):
            leftovers.end(state.token)


def known(shift: Shift) -> NightState:
    state = shift.known()
    assert state is not None
    return state


def is_free(port: str) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", int(port)))
            probe.listen()
        except OSError:
            return False
    return True


def ports(shift: Shift) -> list[str]:
    return [shift.environment[f"FLUXHERO_{name}_PORT"] for name in ("PREFECT", "API")]


def deploy_sleepy(shift: Shift) -> None:
    """A deployment whose run goes on until it is ended."""
    (shift.folder / "sleepy.py").write_text(SLEEPY)
    flow = shift.ask("/flows/", name="sleepy")
    into = {"prefect.deployments.steps.set_working_directory": {"directory": str(shift.folder)}}
    with ServerApi(known(shift).api_url) as api:
        api.post(
            "/deployments/",
            {
                "name": "sleepy",
                "flow_id": flow["id"],
                "entrypoint": "sleepy.py:sleepy",
                "pull_steps": [into],
                "work_pool_name": "fluxhero",
                "work_queue_name": "watch",
            },
        )


@pytest.mark.server
@pytest.mark.timeout(LONG_SECONDS)
def test_everything_is_up_and_its_token_was_made(shift: Shift) -> None:
    state = known(shift)
    assert [str(part.part) for part in state.parts] == ["server", "api", "worker", "alerts"]
    assert str(shift.data / "auth-secret") in " ".join(state.notices)
    assert (shift.data / "auth-secret").stat().st_mode & 0o77 == 0
    for part in state.parts:
        assert part.pid is not None
        environment = psutil.Process(part.pid).environ()
        assert environment[NIGHT_SHIFT] == state.token
        assert environment["PREFECT_HOME"] == str(shift.data / "night" / "prefect")
        assert os.getsid(part.pid) == part.pid


@pytest.mark.server
@pytest.mark.timeout(LONG_SECONDS)
def test_a_second_up_says_what_runs(shift: Shift) -> None:
    state = known(shift)
    again = shift.run("up")
    assert again.returncode == 0, again.stderr
    for said in (state.ui_url, state.page_url, str(state.pid), "worker:", "`fluxhero down`"):
        assert str(said) in again.stdout
    document = json.loads(shift.run("up", "--json").stdout)
    assert document["pid"] == state.pid
    assert document["api_url"] == state.api_url
    assert document["all_up"] is True
    assert state.token not in json.dumps(document)
    assert known(shift) == state


@pytest.mark.server
@pytest.mark.timeout(LONG_SECONDS)
def test_other_commands_find_its_server(
    shift: Shift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLUXHERO_DATA_DIR", str(shift.data))
    assert prefect_api_url() == known(shift).api_url
    assert running_api_url(tmp_path) is None


@pytest.mark.server
@pytest.mark.timeout(LONG_SECONDS)
def test_a_part_that_is_killed_comes_back(shift: Shift) -> None:
    before = shift.pid("api")
    assert before is not None
    os.kill(before, signal.SIGKILL)
    shift.wait(lambda: shift.is_up() and shift.pid("api") != before, UP_SECONDS, "the page")
    page = next(part for part in known(shift).parts if part.part == "api")
    assert page.restarts == 1
    assert (page.problem or "").startswith("ended by SIGKILL")


@pytest.mark.server
@pytest.mark.timeout(LONG_SECONDS)
def test_down_ends_everything_and_a_run_shows_as_crashed(shift: Shift) -> None:
    deploy_sleepy(shift)
    run = shift.start("sleepy/sleepy")
    shift.wait(lambda: shift.state(run) == "RUNNING", UP_SECONDS, "the run")
    state = known(shift)
    down = shift.run("down")
    assert (down.returncode, down.stdout) == (0, "The night shift has ended.\n"), down.stderr
    assert shift.known() is None
    assert leftovers.find(state.token) == []
    assert all(map(is_free, ports(shift)))
    assert shift.stop() == 0
    with sqlite3.connect(shift.data / "night" / "prefect" / "prefect.db") as database:
        wanted = "SELECT state_type FROM flow_run WHERE replace(id, '-', '') = ?"
        assert database.execute(wanted, [run.replace("-", "")]).fetchall() == [("CRASHED",)]
    again = shift.run("down", "--json")
    assert (again.returncode, json.loads(again.stdout)["done"]) == (0, "Nothing runs.")


@pytest.mark.server
@pytest.mark.timeout(LONG_SECONDS)
def test_what_a_killed_supervisor_left_is_ended_and_the_next_one_works(tmp_path: Path) -> None:
    shift = Shift(tmp_path)
    try:
        shift.up("--only", "server")
        state, server = known(shift), shift.pid("server")
        assert server is not None
        os.kill(server, signal.SIGSTOP)  # so that it does not end with its parent
        os.kill(state.pid, signal.SIGKILL)
        assert shift.stop() == -signal.SIGKILL
        assert [process.pid for process in leftovers.find(state.token)] == [server]
        detached = shift.run("up", "--detach", "--json", "--only", "server")
        assert detached.returncode == 0, detached.stderr
        assert leftovers.find(state.token) == []
        document: dict[str, Any] = json.loads(detached.stdout)
        assert [part["part"] for part in document["parts"]] == ["server"]
        assert answers(document["api_url"])
        down = shift.run("down")
        assert down.returncode == 0, down.stderr
        assert is_free(ports(shift)[0])
    finally:
        shift.stop()
        if last := last_state(shift.data):
            leftovers.end(last.token)


def answers(api_url: str) -> bool:
    try:
        with ServerApi(api_url) as api:
            return api.healthy()
    except ServerError:
        return False


# ---- what is refused before anything starts: quick


def up(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("FLUXHERO_", "PREFECT_"))},
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "HOME": str(folder),
        **variables,
    }
    return subprocess.run(
        [sys.executable, "-m", "fluxhero", "up", "--no-screen"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_broken_env_file_is_status_2_and_nothing_starts(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("FLUXHERO_RETENTION_DAYS=soon\nFLUXHERO_DATA_DIRR=x\n")
    ended = up(tmp_path)
    assert ended.returncode == 2
    assert "FLUXHERO_RETENTION_DAYS" in ended.stderr
    assert "FLUXHERO_DATA_DIRR" in ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == [".env"]


def test_a_port_that_is_set_and_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        ended = up(tmp_path, FLUXHERO_PREFECT_PORT=str(port))
    assert ended.returncode == 3
    assert f"port {port} is taken by" in ended.stderr
    assert f"pid {os.getpid()}" in ended.stderr
    assert not (tmp_path / "data" / "night" / "night.json").exists()
