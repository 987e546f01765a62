"""Fixtures that every test may use, and the isolation that all of them need.

Prefect reads its environment when it is imported, so a private home is set here, first of all.
"""

import atexit
import logging
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from config.logging import OUR_LOGGERS, Record, StderrHandler
from config.prefect_env import DEFAULTS
from config.redaction import Redactor
from config.settings import PREFIX, Settings
from tests.command import Ended, Run

SERVER_START_SECONDS = 120  # a temporary server on a loaded machine takes most of a minute

_MEASURING = "COVERAGE_PROCESS_CONFIG"  # by which a process that is started knows what to measure
_HOME = tempfile.mkdtemp(prefix="prefect-home-")
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
for _name in [name for name in os.environ if name.startswith(("PREFECT_", PREFIX))]:
    del os.environ[_name]
os.environ.update(DEFAULTS)
os.environ["PREFECT_HOME"] = _HOME
os.environ["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = str(SERVER_START_SECONDS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that need servers: they wait for minutes, and would be last alone."""
    items.sort(key=lambda item: item.get_closest_marker("server") is None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Measure the coverage of a test's processes only where it is marked so: they take half as long again."""
    config = None if item.get_closest_marker("measured") else os.environ.pop(_MEASURING, None)
    try:
        return (yield)
    finally:
        if config is not None:
            os.environ[_MEASURING] = config


@pytest.fixture(scope="session")
def prefect_harness() -> Iterator[str]:
    """A Prefect server for the whole session; its API URL, for processes the test starts."""
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        temporary_settings,
    )
    from prefect.testing.utilities import prefect_test_harness
    from websockets.asyncio import connection

    with (
        # Its keep-alive draws random bytes in a thread of its own, at any time. Hypothesis takes a draw from
        # the global generator while it makes an example for one of the strategy's, and fails that test.
        patch.object(connection, "random", random.Random()),
        prefect_test_harness(server_startup_timeout=SERVER_START_SECONDS),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        yield str(PREFECT_API_URL.value())


@pytest.fixture(scope="session")
def deployed(prefect_harness: str) -> str:
    """That server once this checkout was applied to it, twice; its API URL."""
    from fluxhero.night.apply import apply
    from fluxhero.night.server_api import ServerApi

    with ServerApi(prefect_harness, patience_seconds=SERVER_START_SECONDS) as server:
        for _ in range(2):
            apply(server, Path(__file__).parents[1])
    return prefect_harness


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty working folder, and no setting of ours in the environment."""
    for name in [name for name in os.environ if name.upper().startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def data(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder that the settings of the environment name."""
    folder = clean_environment / "data"
    folder.mkdir()
    monkeypatch.setenv("FLUXHERO_DATA_DIR", str(folder))
    return folder


@pytest.fixture
def settings(clean_environment: Path) -> Settings:
    """Settings with every path under the test's own folder."""
    return Settings(data_dir=clean_environment / "data")


@pytest.fixture
def restored_logging() -> Iterator[None]:
    """Undo afterwards what configure_logging changes for the whole process."""
    root = logging.getLogger()
    levels = {name: logging.getLogger(name).level for name in OUR_LOGGERS}
    factory = logging.getLogRecordFactory()
    with patch.object(Record, "redactor", Redactor()):
        yield
    logging.setLogRecordFactory(factory)
    logging.captureWarnings(capture=False)
    for handler in [h for h in root.handlers if isinstance(h, StderrHandler)]:
        root.removeHandler(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def run(clean_environment: Path, capsys: pytest.CaptureFixture[str], restored_logging: None) -> Run:
    """Run the command in this process, in an empty folder."""

    def _run(*arguments: str) -> Ended:
        capsys.readouterr()
        from fluxhero.cli import main

        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        captured = capsys.readouterr()
        return Ended(int(str(ended.value.code)), captured.out, captured.err)

    return _run
