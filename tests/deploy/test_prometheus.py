"""The deployment's files with the real Prometheus: its own tests of them, a scrape, and an alert that fires."""

import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from config.loading import load_settings
from fluxhero.api.app import create_app
from fluxhero.api.services import NoRuns
from tests.api.server import TOKEN, serving
from tests.archive.conftest import make_house
from tests.deploy.test_files import PROMETHEUS, asked
from tests.house import House
from tests.ports import free_port
from tests.samples import create_duckdb_store
from tests.waiting import wait_for

WAIT_SECONDS = 60


def tool(name: str) -> str:
    """The program; without it the test is skipped."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian: apt-get install prometheus)")
    return found


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [tool("promtool"), *map(str, arguments)], capture_output=True, text=True, check=False
    )


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The folder that the guide makes: the files, and the token with its line's end."""
    folder = tmp_path / "etc"
    shutil.copytree(PROMETHEUS, folder)
    (folder / "fluxhero-token").write_text(TOKEN + "\n")
    return folder


def test_promtool_accepts_configuration_and_rules(installed: Path) -> None:
    for arguments in (
        ("check", "config", installed / "prometheus.yml"),
        ("check", "rules", installed / "rules.yml", installed / "machine.yml"),
    ):
        checked = promtool(*arguments)
        assert checked.returncode == 0, checked.stdout + checked.stderr
    (installed / "fluxhero-token").unlink()
    checked = promtool("check", "config", installed / "prometheus.yml")
    assert checked.returncode != 0, "a missing token file is found before the start"


@pytest.mark.parametrize("tests", ["rules_test.yml", "days_test.yml"])
def test_the_alerts_do_what_they_say(installed: Path, tests: str) -> None:
    tested = promtool("test", "rules", installed / tests)
    assert tested.returncode == 0, tested.stdout + tested.stderr


MUTATIONS = {
    "a limit that is reached is none": (">= on (instance) group_left ()", "> on (instance) group_left ()"),
    "both levels at once": ("unless on (instance, mode) (\n            max by", "or (\n            max by"),
    "a scrape that fails ends it": ("max_over_time(trading_drawdown_ratio[30m])", "trading_drawdown_ratio"),
    "the better basis counts": ("max by (instance, mode) (max_over", "min by (instance, mode) (max_over"),
}  # fmt: skip


@pytest.mark.parametrize("fault", MUTATIONS)
def test_the_tests_of_the_alerts_notice(installed: Path, fault: str) -> None:
    said, instead = MUTATIONS[fault]
    rules, tests = installed / "rules.yml", installed / "rules_test.yml"
    assert said in rules.read_text()
    rules.write_text(rules.read_text().replace(said, instead))
    head, first, *_ = tests.read_text().split("\n  - name: ")
    tests.write_text(f"{head}\n  - name: {first}")
    tested = promtool("test", "rules", tests)
    assert tested.returncode != 0
    assert "got:" in tested.stdout + tested.stderr


@contextmanager
def prometheus(folder: Path, target: int) -> Iterator[httpx.Client]:
    """Prometheus itself as the guide starts it, only quicker to scrape; a client of its API."""
    config = folder / "prometheus.yml"
    text = config.read_text().replace("127.0.0.1:8400", f"127.0.0.1:{target}")
    config.write_text(re.sub(r"(scrape|evaluation)_interval: 30s", r"\1_interval: 1s", text))
    address = f"127.0.0.1:{free_port()}"
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                tool("prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'history'}",
                f"--web.listen-address={address}",
                "--log.level=warn",
            ],
            stdout=output,
            stderr=output,
        )
        try:
            with httpx.Client(base_url=f"http://{address}/api/v1", trust_env=False) as client:
                # It listens before it can answer, and says so in words and not in JSON.
                wait_for(lambda: is_ready(client, address), WAIT_SECONDS)
                yield client
        except AssertionError as failure:
            failure.add_note(log.read_text())
            raise
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(WAIT_SECONDS)


def is_ready(client: httpx.Client, address: str) -> bool:
    try:
        return client.get(f"http://{address}/-/ready").is_success
    except httpx.TransportError:
        return False  # it has not started yet


def firing(client: httpx.Client) -> dict[str, Any]:
    """Alert and mode → the alert, of those that fire."""
    alerts = client.get("/alerts").json()["data"]["alerts"]
    return {
        " ".join((one["labels"]["alertname"], one["labels"].get("mode", ""))).strip(): one
        for one in alerts
        if one["state"] == "firing"
    }


@pytest.fixture
def ledger(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """An account of 150,000 at its best, as of yesterday."""
    house = make_house("duckdb", clean_environment, monkeypatch)
    create_duckdb_store(house.store)
    now = datetime.now(UTC)
    for number, result in ((1, 50_000), (2, 0)):
        at = now - timedelta(days=1) + timedelta(hours=number)
        house.add(
            number, realized_pnl=Decimal(result), entry_time=at - timedelta(hours=1), exit_time=at
        )
    return house


def fall_to(ledger: House, equity: str) -> None:
    """Let the last trade have a result that leaves this much, and measure it."""
    ledger.edit(2, f"realized_pnl = {Decimal(equity) - 150_000}")
    ledger.snapshot(now=datetime.now(UTC))


def test_a_scrape_with_the_token_and_an_alert_that_fires(ledger: House, installed: Path) -> None:
    """From the store through flow, API and Prometheus to the alert; only the rate of it all is not real."""
    fall_to(ledger, "127500.15")
    app = create_app(load_settings(None, auth_secret=TOKEN), runs=NoRuns())
    token = installed / "fluxhero-token"
    token.write_text("an old token\n")

    def target() -> dict[str, str]:
        found = client.get("/targets").json()["data"]["activeTargets"]
        return found[0] if found and found[0]["health"] != "unknown" else {}

    with serving(app) as url, prometheus(installed, int(url.rpartition(":")[2])) as client:
        refused = wait_for(target, WAIT_SECONDS)
        assert (refused["health"], "401" in refused["lastError"]) == ("down", True)
        assert "FluxHeroAbsent" in wait_for(lambda: firing(client), WAIT_SECONDS)
        token.write_text(TOKEN + "\n")  # without a restart
        wait_for(lambda: target().get("health") == "up", WAIT_SECONDS)
        wait_for(lambda: not firing(client), WAIT_SECONDS)
        fall_to(ledger, "127500")
        assert set(wait_for(lambda: firing(client), WAIT_SECONDS)) == {
            "FluxHeroDrawdownWarning live"
        }
        fall_to(ledger, "120000")
        critical = {"FluxHeroBreakerCritical live", "FluxHeroDrawdownCritical live"}
        wait_for(lambda: set(firing(client)) == critical, WAIT_SECONDS)
        alert = firing(client)["FluxHeroDrawdownCritical live"]
        assert alert["labels"]["severity"] == "critical"
        assert "20% below its peak" in alert["annotations"]["summary"]
        assert "fluxhero breaker reset" in alert["annotations"]["description"]
        groups = client.get("/rules").json()["data"]["groups"]
        assert {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}
        for one in asked():
            expression = re.sub(r"\$\w+", ".*", one.expression)
            answer = client.get("/query", params={"query": expression}).json()
            assert answer["status"] == "success", (one, answer)
        shown = client.get("/query", params={"query": "trading_breaker_state == 1"}).json()
        assert [series["metric"]["state"] for series in shown["data"]["result"]] == ["critical"]
