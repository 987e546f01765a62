"""What is set up for Prefect before it is imported."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from config import prefect_env
from config.prefect_env import DEFAULTS, prepare_prefect_environment
from tests.threaded import in_a_thread


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, clean_environment: Path) -> None:
    for name in [*DEFAULTS, "PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"]:
        monkeypatch.setenv(name, "")  # so that what the test sets is undone
        monkeypatch.delenv(name)
    monkeypatch.setenv("PREFECT_HOME", str(clean_environment))


@contextmanager
def server(status: int = 200, body: bytes = b"true") -> Iterator[int]:
    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/api/health" else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with in_a_thread(HTTPServer(("127.0.0.1", 0), Health)) as listener:
        yield listener.server_port


def test_the_users_choice_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_TASKS_DEFAULT_NO_CACHE", "false")
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect.example/api")
    prepare_prefect_environment()
    assert os.environ["PREFECT_TASKS_DEFAULT_NO_CACHE"] == "false"
    assert os.environ["PREFECT_API_URL"] == "http://prefect.example/api"
    assert os.environ["DO_NOT_TRACK"] == "1"
    assert os.environ["GX_ANALYTICS_ENABLED"] == "false"


def test_a_local_server_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with server() as port:
        monkeypatch.setattr(prefect_env, "LOCAL_PORT", port)
        prepare_prefect_environment()
    assert os.environ["PREFECT_API_URL"] == f"http://127.0.0.1:{port}/api"


@pytest.mark.parametrize(("status", "body"), [(500, b"true"), (200, b"<html>")])
def test_something_else_on_the_port_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, status: int, body: bytes
) -> None:
    with server(status, body) as port:
        monkeypatch.setattr(prefect_env, "LOCAL_PORT", port)
        prepare_prefect_environment()
    assert "PREFECT_API_URL" not in os.environ


def test_nothing_on_the_port_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    with server() as port:
        pass
    monkeypatch.setattr(prefect_env, "LOCAL_PORT", port)
    prepare_prefect_environment()
    assert "PREFECT_API_URL" not in os.environ


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (".env", "PREFECT_API_URL=http://prefect.example/api\n"),
        ("prefect.toml", '[api]\nurl = "http://prefect.example/api"\n'),
        ("pyproject.toml", '[tool.prefect.api]\nurl = "http://prefect.example/api"\n'),
        (
            "profiles.toml",
            'active = "team"\n[profiles.team]\nPREFECT_API_URL = "http://prefect.example/api"\n',
        ),
    ],
)
def test_a_server_configured_elsewhere_is_respected(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: str, text: str
) -> None:
    (tmp_path / file).write_text(text)
    with server() as port:
        monkeypatch.setattr(prefect_env, "LOCAL_PORT", port)
        prepare_prefect_environment()
    assert "PREFECT_API_URL" not in os.environ


def test_damaged_configuration_is_left_to_prefect(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "profiles.toml").write_text("active = [")
    (tmp_path / "prefect.toml").write_text("api = 3\n")
    with server() as port:
        monkeypatch.setattr(prefect_env, "LOCAL_PORT", port)
        prepare_prefect_environment()
    assert "PREFECT_API_URL" in os.environ


def test_prefect_knows_every_setting_by_its_name() -> None:
    script = (
        "from config.prefect_env import DEFAULTS, prepare_prefect_environment as p; p();"
        "import prefect.settings as s; c = s.get_current_settings();"
        "known = c.to_environment_variables(exclude_unset=True, include_aliases=True);"
        "missing = {n for n in DEFAULTS if n.startswith('PREFECT_')} - set(known);"
        "assert not missing, missing;"
        "assert c.tasks.default_no_cache and c.server.ephemeral.enabled;"
        "assert c.server.ephemeral.startup_timeout_seconds == 300;"
        "assert not c.server.analytics_enabled;"
        "assert not c.telemetry.enable_resource_metrics;"
        "assert sorted(c.logging.extra_loggers) == ['config', 'flows', 'fluxhero', 'tasks'],"
        " c.logging.extra_loggers"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
