"""What is found out before the first process of a night shift starts, and how one is ended from outside."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pytest

from config.loading import load_settings
from config.settings import Settings
from config.variables import NIGHT_SHIFT
from fluxhero.errors import (
    AddressError,
    AlreadyRunningError,
    ConfigurationError,
    NightShiftError,
)
from fluxhero.night import shift as module
from fluxhero.night.deployments import checkout
from fluxhero.night.detached import start_detached
from fluxhero.night.shift import Asked, end_shift, only_shift, prepare, running_state
from fluxhero.night.state import NightState, Part, process_created, state_file, write_state
from tests.command import Run
from tests.ports import free_port
from tests.threaded import in_a_thread

SLEEP = (sys.executable, "-c", "import time; time.sleep(600)")


@pytest.fixture
def home(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and no Prefect server configured."""
    monkeypatch.setenv("PREFECT_HOME", str(clean_environment / "prefect-home"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    return clean_environment


@pytest.fixture
def server() -> Iterator[int]:
    """Something that answers every GET with 200."""

    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with in_a_thread(HTTPServer(("127.0.0.1", 0), Health)) as listener:
        yield listener.server_port


def a_state(
    data_dir: Path, *, pid: int, token: str = "none", created: float | None = None
) -> NightState:
    return NightState.model_validate(
        {
            "token": token,
            "pid": pid,
            "created": process_created(pid) if created is None else created,
            "started_at": "2026-11-30T06:00:00Z",
            "api_url": "http://127.0.0.1:4200/api",
            "ui_url": "http://127.0.0.1:4200",
            "page_url": None,
            "parts": [],
        }
    )


def free(**settings: object) -> Settings:
    ports = {"prefect_port": free_port(), "api_port": free_port()}
    return load_settings(".env", **{**ports, **settings})


# ---- preparing


def test_a_newcomer_gets_a_token_and_a_server_of_the_folders_own(home: Path) -> None:
    settings = free()
    prepared = prepare(settings, Asked())
    assert prepared.parts == tuple(Part)
    assert prepared.place.own_server
    assert prepared.place.api_url == f"http://127.0.0.1:{settings.prefect_port}/api"
    assert settings.auth_secret_file.exists()
    token, store = prepared.notices
    assert token == f"a token for the operations page was made: {settings.auth_secret_file}"
    assert store.startswith(f"a new, empty store was made: {settings.store_path}; bring trades in")
    assert settings.store_path.is_file()
    assert prepared.place.prefect_home.is_dir()
    assert prepare(settings, Asked()).notices == ()  # the same the next time


def test_a_token_that_anybody_guesses_is_refused(home: Path) -> None:
    with pytest.raises(ConfigurationError, match="FLUXHERO_AUTH_SECRET"):
        prepare(free(auth_secret="changeme"), Asked())
    prepare(free(auth_secret="changeme"), Asked((Part.WORKER,)))  # which needs none


def test_a_default_port_that_is_taken_is_passed_over(home: Path, server: int) -> None:
    settings = load_settings(prefect_port=server, api_port=server)
    settings.model_fields_set.clear()  # as if these were the defaults
    prepared = prepare(settings, Asked())
    place = prepared.place
    assert len({server, place.prefect_port, place.api_port}) == 3
    assert any(f"the Prefect server has port {place.prefect_port}" in n for n in prepared.notices)
    assert any(f"the operations page has port {place.api_port}" in n for n in prepared.notices)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (lambda port: Asked(prefect_port=port), "--prefect-port"),
        (lambda port: Asked(api_port=port), "--api-port"),
    ],
)
def test_a_port_asked_for_by_an_option_is_the_one_or_none(
    home: Path, server: int, asked: object, said: str
) -> None:
    assert callable(asked)
    with pytest.raises(AddressError, match=said):
        prepare(free(), asked(server))
    with pytest.raises(AddressError, match="FLUXHERO_API_PORT"):
        prepare(free(api_port=server), Asked())


def test_somebody_elses_server_is_used_and_said(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect.example:4200/api/")
    prepared = prepare(free(), Asked())
    assert Part.SERVER not in prepared.parts
    assert not prepared.place.own_server
    assert prepared.place.api_url == "http://prefect.example:4200/api"
    assert any("http://prefect.example:4200/api" in notice for notice in prepared.notices)


def test_a_url_where_ours_would_be_means_ours_unless_somebody_is_there(
    home: Path, server: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("PREFECT_API_URL", f"http://localhost:{port}/api")
    assert prepare(free(prefect_port=port), Asked()).place.own_server
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server}/api")
    assert not prepare(free(prefect_port=server), Asked()).place.own_server


# ---- what the processes are told


def test_the_environment_of_a_part(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".env").write_text(
        "FLUXHERO_RETENTION_DAYS=7\nPREFECT_API_AUTH_STRING=me:secret\nOTHER=1\nPREFECT_X=\n"
    )
    monkeypatch.setenv("PREFECT_PROFILE", "team")
    monkeypatch.setenv("PREFECT_TASKS_DEFAULT_NO_CACHE", "false")
    monkeypatch.setenv("FLUXHERO_LOG_LEVEL", "warning")
    place = prepare(free(history_days=2), Asked()).place
    worker = place.part(Part.WORKER)
    given = worker.environment
    assert given["FLUXHERO_RETENTION_DAYS"] == "7"
    assert given["FLUXHERO_LOG_LEVEL"] == "WARNING"
    assert given["FLUXHERO_DATA_DIR"] == str(home / "data")
    assert given["PREFECT_API_AUTH_STRING"] == "me:secret"
    assert given["PREFECT_TASKS_DEFAULT_NO_CACHE"] == "false"
    assert given["PREFECT_HOME"] == str(home / "data" / "night" / "prefect")
    assert given["PREFECT_API_URL"] == place.api_url
    assert given[NIGHT_SHIFT] == place.token
    assert given["DO_NOT_TRACK"] == "1"
    assert not {"PREFECT_PROFILE", "OTHER", "PREFECT_X"} & set(given)
    assert worker.folder == checkout()
    server = place.part(Part.SERVER)
    assert server.environment["PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD"] == "172800"
    assert server.health_url == f"{place.api_url}/health"
    assert str(place.prefect_port) in server.arguments
    assert place.part(Part.API).health_url == f"{place.page_url}livez"


def test_with_somebody_elses_server_the_users_profile_stays(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect.example/api")
    monkeypatch.setenv("PREFECT_PROFILE", "team")
    given = prepare(free(), Asked()).place.part(Part.WORKER).environment
    assert given["PREFECT_PROFILE"] == "team"
    assert given["PREFECT_HOME"] == os.environ["PREFECT_HOME"]


# ---- one at a time, and nothing left


def test_two_on_one_folder_cannot_be(tmp_path: Path) -> None:
    with only_shift(tmp_path):
        with pytest.raises(AlreadyRunningError, match=str(tmp_path)), only_shift(tmp_path):
            pass
        with pytest.raises(AlreadyRunningError):
            _impatient_end(tmp_path)
    with only_shift(tmp_path):
        pass


def _impatient_end(data_dir: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_LOCK_SECONDS", 0.1)
        end_shift(data_dir)


@pytest.fixture
def left(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that a night shift has left which was killed."""
    token = f"left-{tmp_path}"
    with subprocess.Popen(SLEEP, env={**os.environ, NIGHT_SHIFT: token}) as process:
        made = psutil.Process(process.pid).create_time()
        write_state(tmp_path, a_state(tmp_path, pid=process.pid, token=token, created=made - 5))
        yield process


def test_what_a_killed_one_left_is_ended_before_the_next_begins(
    left: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    with only_shift(tmp_path):
        assert left.wait(10) == -signal.SIGTERM
    assert not state_file(tmp_path).exists()


def test_down_ends_what_a_killed_one_left(left: subprocess.Popen[bytes], tmp_path: Path) -> None:
    assert "what it had left, 1 process, has ended" in end_shift(tmp_path)
    assert left.wait(10) == -signal.SIGTERM
    assert end_shift(tmp_path) == "Nothing runs."


def test_one_that_does_not_end_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ENDS_WITHIN_SECONDS", 0.3)
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE) as one:
        try:
            assert one.stdout is not None
            one.stdout.readline()
            write_state(tmp_path, a_state(tmp_path, pid=one.pid))
            with pytest.raises(NightShiftError, match=f"pid {one.pid}") as raised:
                end_shift(tmp_path)
            assert f"kill -9 {one.pid}" in raised.value.next_step
        finally:
            one.kill()


def test_one_that_is_just_starting_is_given_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOCK_SECONDS", 0.3)
    assert running_state(tmp_path) is None
    write_state(tmp_path, a_state(tmp_path, pid=os.getpid()))
    assert running_state(tmp_path) is not None


# ---- the commands


def test_up_while_another_is_only_starting_says_so(
    home: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOCK_SECONDS", 0.1)
    with only_shift(home / "data"):
        ended = run("up", "--no-screen")
        assert ended.status == 3
        assert "another night shift is starting or ending" in ended.err
        write_state(home / "data", a_state(home / "data", pid=os.getpid()))
        assert run("up").status == 0


def test_detached_tells_what_went_wrong(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUXHERO_AUTH_SECRET", "changeme")
    with pytest.raises(NightShiftError, match="FLUXHERO_AUTH_SECRET") as raised:
        start_detached(home / "data", ["--only", "api"])
    assert "up.log" in raised.value.next_step


def test_detached_does_not_wait_for_ever(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data_dir = home / "data"
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    monkeypatch.setenv("FLUXHERO_API_PORT", str(free_port()))
    try:
        with pytest.raises(NightShiftError, match="is not all up after"):
            start_detached(data_dir, ["--only", "api"], up_within_seconds=0.2)
    finally:
        monkeypatch.setattr(module, "_LOCK_SECONDS", 30)
        running_state(data_dir)
        end_shift(data_dir)
