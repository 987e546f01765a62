"""The deployment's files with the real Prometheus: its own tests of them, a scrape, and an alert that fires."""

import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from config.settings import Settings
from fluxhero.metrics.breaker import Thresholds, breaker_samples, observe, states
from fluxhero.metrics.facts import Account, Basis
from fluxhero.metrics.families import family_of
from fluxhero.metrics.limits import judge_limits, limit_samples
from fluxhero.metrics.samples import Sample, sample
from tests.deploy.test_files import PROMETHEUS, asked

TOKEN = "a-token-of-this-test-and-of-nothing-else"
WAIT_SECONDS = 60
NOW = datetime(2026, 3, 2, 22, tzinfo=UTC)


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


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def exposition(samples: list[Sample]) -> str:
    """Samples as text, HELP and TYPE once a family."""
    lines = []
    for name in dict.fromkeys(one.name for one in samples):
        family = family_of(name)
        assert family is not None
        lines += [f"# HELP {name} {family.help}", f"# TYPE {name} {family.kind.value}"]
        for one in (one for one in samples if one.name == name):
            labels = ",".join(f'{label}="{value}"' for label, value in one.labels)
            lines.append(f"{name}{{{labels}}} {one.value!r}")
    return "\n".join(lines) + "\n"


@contextmanager
def served(text: Callable[[], str]) -> Iterator[int]:
    """A server on loopback that has /metrics for whoever has the token; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.headers["Authorization"] == f"Bearer {TOKEN}"
            body = text().encode() if known and self.path == "/metrics" else b"no"
            self.send_response(200 if known else 401)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


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
                yield client
        except AssertionError as failure:
            failure.add_note(log.read_text())
            raise
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(WAIT_SECONDS)


def until(ask: Callable[[], Any]) -> Any:
    """Ask again until there is an answer."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        try:
            if answer := ask():
                return answer
        except httpx.TransportError:
            pass  # it has not started yet
        time.sleep(0.1)
    raise AssertionError("it did not come to that")


def firing(client: httpx.Client) -> dict[str, Any]:
    """Alert and mode → the alert, of those that fire."""
    alerts = client.get("/alerts").json()["data"]["alerts"]
    return {
        " ".join((one["labels"]["alertname"], one["labels"].get("mode", ""))).strip(): one
        for one in alerts
        if one["state"] == "firing"
    }


def measured(settings: Settings, equity: str) -> list[Sample]:
    """What a snapshot of an account of peak 150,000 exposes, as far as this part goes."""
    money = Decimal(equity)
    peak = Decimal(150_000)
    none = timedelta(0)
    account = Account("live", Basis.CLOSED, NOW, money, peak, Decimal(0), None, none)
    observe(settings.data_dir, [account], Thresholds.of(settings), now=NOW, run="r")
    ratio = float((peak - money) / peak)
    return [
        sample("drawdown_ratio", ratio, mode="live", basis="closed"),
        sample("snapshot_timestamp_seconds", time.time()),
        *limit_samples(judge_limits([account], [], {}, settings), settings),
        *breaker_samples(states(settings.data_dir)),
    ]


def test_a_scrape_with_the_token_and_an_alert_that_fires(
    settings: Settings, installed: Path
) -> None:
    samples = measured(settings, "127500.15")
    token = installed / "fluxhero-token"
    token.write_text("an old token\n")

    def target() -> dict[str, str]:
        found = client.get("/targets").json()["data"]["activeTargets"]
        return found[0] if found and found[0]["health"] != "unknown" else {}

    with served(lambda: exposition(samples)) as port, prometheus(installed, port) as client:
        refused = until(target)
        assert (refused["health"], "401" in refused["lastError"]) == ("down", True)
        assert "FluxHeroAbsent" in until(lambda: firing(client))
        token.write_text(TOKEN + "\n")  # without a restart
        until(lambda: target().get("health") == "up")
        until(lambda: not firing(client))
        samples[:] = measured(settings, "127500")
        assert set(until(lambda: firing(client))) == {"FluxHeroDrawdownWarning live"}
        samples[:] = measured(settings, "120000")
        critical = {"FluxHeroBreakerCritical live", "FluxHeroDrawdownCritical live"}
        until(lambda: set(firing(client)) == critical)
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
