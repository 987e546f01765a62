"""The small programs of a night shift: how they end, without a server too."""

import logging
import subprocess
from pathlib import Path
from unittest.mock import patch

import httpx
import pytest

from fluxhero.errors import NightShiftError
from fluxhero.night import apply as applying
from fluxhero.night import catch_up as catching_up
from fluxhero.night import one_off
from fluxhero.night.server_api import ServerApi
from tests.deployed import post

NOWHERE = "http://127.0.0.1:9/api"


@pytest.fixture(autouse=True)
def impatient(
    clean_environment: Path, restored_logging: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No waiting for a server that never comes."""
    monkeypatch.setattr(one_off, "PATIENCE_SECONDS", 0.1)


def status_of(main: object) -> int:
    assert callable(main)
    with pytest.raises(SystemExit) as ended:
        main()
    return int(str(ended.value.code))


@pytest.mark.parametrize("main", [applying.main, catching_up.main])
def test_a_server_that_is_away_is_said(
    main: object, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", NOWHERE)
    assert status_of(main) == 3
    assert f"{NOWHERE} does not answer" in caplog.text


def test_no_server_at_all_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with patch.object(one_off, "prefect_api_url", return_value=None):
        assert status_of(catching_up.main) == 3
    assert "no Prefect server is set" in caplog.text


def test_settings_that_cannot_be_used_are_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FLUXHERO_HISTORY_DAYS", "some")
    assert status_of(catching_up.main) == 2
    assert "FLUXHERO_HISTORY_DAYS" in caplog.text


@pytest.mark.server
def test_catching_up_with_nothing_ends_well(
    prefect_harness: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", prefect_harness)
    assert status_of(catching_up.main) == 0
    assert isinstance(post("/deployments/filter"), list)


def test_a_work_pool_of_another_type_stays_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    """Of a deployment to Docker or Kubernetes, say."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        return httpx.Response(200, json={"name": "fluxhero", "type": "kubernetes"})

    client = httpx.Client(transport=httpx.MockTransport(answer))
    with ServerApi(NOWHERE, client=client) as server, caplog.at_level(logging.INFO):
        applying._make_pool(server)
    assert asked == ["GET"]
    assert "is of the type kubernetes, and stays so" in caplog.text


def test_a_deployment_that_never_ends_is_given_up() -> None:
    late = subprocess.TimeoutExpired("prefect", 1)
    with (
        patch.object(subprocess, "run", side_effect=late),
        pytest.raises(NightShiftError, match="did not end within 600 seconds"),
    ):
        applying._prefect("deploy", api_url=NOWHERE)
