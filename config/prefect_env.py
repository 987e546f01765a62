"""How Prefect and Great Expectations are set up for us: the only place that writes the environment.

`prepare_prefect_environment` must run before Prefect is imported, since it reads most of its
settings once. Whatever the user has set in the environment is left as it is.
"""

import http.client
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from dotenv import dotenv_values
from pydantic import SecretStr

from config.kinds import as_text
from config.loading import load_settings
from config.night_shift import running_api_url
from config.settings import Settings
from config.variables import NIGHT_SHIFT, PREFIX, variable

LOCAL_HOST: Final = "127.0.0.1"
LOCAL_PORT: Final = 4200  # where `prefect server start` listens unless told otherwise
PROBE_SECONDS: Final = 0.5

DEFAULTS: Final[Mapping[str, str]] = {
    # Nothing sends telemetry.
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
    "GX_ANALYTICS_ENABLED": "false",
    # Caching hashes inputs: 300 ms for a large frame, and nothing here is cached.
    "PREFECT_TASKS_DEFAULT_NO_CACHE": "true",
    # Without a server a temporary one is started, which takes a minute on a loaded machine.
    "PREFECT_SERVER_EPHEMERAL_ENABLED": "true",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "300",
    # Our packages' records go to the run they belong to; those outside a run only to the console.
    "PREFECT_LOGGING_EXTRA_LOGGERS": "fluxhero,flows,tasks,config",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
}

# What runs of a deployment have besides. A run that sends no heartbeat any more is taken for crashed by
# an automation of the server; who runs a command at a terminal sees for himself.
OF_DEPLOYMENTS: Final[Mapping[str, str]] = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}


def prepare_prefect_environment() -> None:
    """Set Prefect's defaults for this process and find the server that runs here, if one does.

    Raises:
        SettingsError: the settings, which say where to look, cannot be used.
    """
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    if configured_api_url() is None and (found := prefect_api_url()):
        os.environ["PREFECT_API_URL"] = found


def prefect_api_url(data_dir: Path | None = None) -> str | None:
    """URL of the API that runs are kept by, without a slash at its end; None where there is none.

    It is what somebody configured, whether it answers or not; else the server of the night shift that
    runs on the data folder; else the local server if it runs.

    Args:
        data_dir: the data folder; that of the settings when None.

    Raises:
        SettingsError: the settings cannot be used.
    """
    if configured := configured_api_url():
        return configured
    if found := running_api_url(data_dir or load_settings().data_dir):
        return found
    if server_answers(LOCAL_HOST, LOCAL_PORT):
        return f"http://{LOCAL_HOST}:{LOCAL_PORT}/api"
    return None


def configured_api_url() -> str | None:
    """What somebody configured as the API's URL, without a slash at its end; None if nobody did."""
    configured = next((url for url in _configured_api_urls() if url), None)
    return configured and configured.rstrip("/")


def starts_temporary_server() -> bool:
    """Whether Prefect will start a server of its own for a run; ask after preparing."""
    return configured_api_url() is None


def use_demo_folder(folder: Path, **settings: Any) -> None:
    """Make this process, and what it starts, work in a folder of its own with default settings.

    What the environment or `.env` says about another store or archive does not count from here on.

    Args:
        folder: the data folder.
        settings: what is set otherwise than by default.
    """
    ours = [name for name in os.environ if name.upper().startswith(PREFIX)]
    for name in ours:
        if name != NIGHT_SHIFT:  # whose process this is stays true
            del os.environ[name]
    for field, value in Settings(_env_file=None, data_dir=folder, log_level="ERROR", **settings):
        if value is not None and not isinstance(value, SecretStr):
            os.environ[variable(field)] = as_text(value)
    os.environ["PREFECT_LOGGING_LEVEL"] = "CRITICAL"


def _configured_api_urls() -> Iterator[str | None]:
    """API URLs in the places Prefect reads its settings from."""
    yield os.environ.get("PREFECT_API_URL")
    if Path(".env").is_file():
        yield dotenv_values(".env").get("PREFECT_API_URL")
    yield _table(_toml(Path("prefect.toml")), "api").get("url")
    yield _table(_toml(Path("pyproject.toml")), "tool", "prefect", "api").get("url")
    home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    profiles = _toml(Path(os.environ.get("PREFECT_PROFILES_PATH") or home / "profiles.toml"))
    active = os.environ.get("PREFECT_PROFILE") or str(profiles.get("active"))
    yield _table(profiles, "profiles", active).get("PREFECT_API_URL")


def _toml(path: Path) -> dict[str, Any]:
    """A TOML file's content; nothing when missing or damaged, which Prefect reports itself."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return {}


def _table(document: dict[str, Any], *keys: str) -> dict[str, Any]:
    for key in keys:
        inner = document.get(key)
        if not isinstance(inner, dict):
            return {}
        document = inner
    return document


def server_answers(host: str, port: int) -> bool:
    """Whether a healthy Prefect server listens there."""
    connection = http.client.HTTPConnection(host, port, timeout=PROBE_SECONDS)
    try:
        connection.request("GET", "/api/health")
        response = connection.getresponse()
        return response.status == http.client.OK and response.read(16).strip() == b"true"
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
