"""The operations page in a real browser over the real service: from an empty folder through a bad night."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from config.loading import load_settings
from fluxhero.api.app import create_app
from fluxhero.api.connections import HttpConnection
from fluxhero.api.services import NoRuns
from fluxhero.api.tokens import make_secret
from fluxhero.api.watcher import watch
from fluxhero.api.websocket import Pace
from fluxhero.integrity.findings import Area
from fluxhero.reports import write_report
from tests.api import filled
from tests.browser.conftest import Open
from tests.browser.served import Served

ServeReal = Callable[..., Served]


@pytest.fixture
def serve(data: Path) -> Iterator[ServeReal]:
    """Serves the data folder with a secret from its file, and watches it."""
    running: list[Served] = []

    def _serve(pace: Pace | None = None, **settings: Any) -> Served:
        def made() -> Any:
            loaded = load_settings(env_file=None, rate_limit="100000/minute", **settings)
            more = {} if pace is None else {"pace": pace}
            clock = lambda: filled.NOW  # noqa: E731
            return create_app(loaded, runs=NoRuns(), clock=clock, background=(watch,), **more)

        running.append(Served(made).start())
        return running[-1]

    yield _serve
    for server in running:
        server.stop()


def test_from_nothing_through_a_bad_night(
    tab: Open, serve: ServeReal, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HttpConnection, "request_seconds", 1)  # which a WebSocket outlives
    make_secret(data / "auth-secret")
    token = (data / "auth-secret").read_text().strip()
    server = serve()
    opened = tab()
    page = opened.page
    opened.log_in(server.url, token)
    assert page.get_attribute("#verdict", "data-level") == "unknown"
    assert "fluxhero ingest" in opened.text("#account")
    assert "never checked" in opened.text("#findings")

    filled.fill(data)
    page.wait_for_selector("#verdict[data-level=critical]")
    page.wait_for_selector(".alert >> text=breaker")
    page.wait_for_selector("#tiles >> text=$120,000")
    page.wait_for_selector("#plot .equity")
    assert "20.0 %" in opened.text("#tiles")
    assert "fluxhero breaker reset --mode live" in opened.text("#breaker")
    assert "files.sha256" in opened.text("#findings")
    assert "limits.exposure" in opened.text("#findings")
    assert page.locator("#findings summary", has_text="What to do").count() == 2
    assert "over" in opened.text("#holdings")
    assert "archive-trades" in opened.text("#jobs")
    assert "too few" in opened.text("#latency")
    assert "equity ends at $130,000" in opened.text("#chart-says")

    page.wait_for_timeout(1_000)
    assert [url for url in opened.asked if url.startswith("ws:")] == [
        f"ws://127.0.0.1:{server.port}/ws"
    ]
    server.stop()
    page.wait_for_selector("#line[data-state=lost]")
    newest = filled.take(data, filled.NOW)
    filled.scribble(newest)
    filled.check(data, filled.NOW, [filled.SOUND], Area.STORAGE)
    server.start()
    page.wait_for_selector("#line[data-state=live]")
    page.wait_for_selector("#reasons >> text=cannot be read")
    assert "$120,000" in opened.text("#tiles")  # from the snapshot before it
    assert page.get_attribute("#verdict", "data-level") == "critical"


def test_who_may_look(tab: Open, serve: ServeReal, data: Path) -> None:
    make_secret(data / "auth-secret")
    token = (data / "auth-secret").read_text().strip()
    filled.take(data, filled.NOW - timedelta(minutes=5))
    opened = tab()
    page = opened.page
    page.goto(serve(auth_failures="3/minute").url)
    for _ in range(3):
        page.fill("#token", "a-wrong-token-of-the-right-length-0123456789")
        page.click("#log-in")
        page.wait_for_selector("#log-in:enabled")
        assert "not a token" in opened.text("#login-problem")
    page.click("#log-in")
    page.wait_for_selector("text=Too many attempts: wait")
    assert not page.is_visible("#board")

    server = serve(Pace(recheck=0.3))
    opened.log_in(server.url, token)
    for path in (data / "auth-secret", data / "auth-secret"):  # the one before stays valid once
        make_secret(path)
    page.wait_for_selector("text=no longer accepted")
    assert page.evaluate("sessionStorage.length") == 0
    opened.log_in(server.url, (data / "auth-secret").read_text().strip())


def test_a_report_opens_in_a_tab_of_its_own_and_nothing_in_it_runs(
    tab: Open, serve: ServeReal, data: Path
) -> None:
    write_report(data, "check", "1", "<script>document.title='ran'</script><h1>All is sound</h1>")
    make_secret(data / "auth-secret")
    server = serve()
    opened = tab()
    page = opened.page
    opened.log_in(server.url, (data / "auth-secret").read_text().strip())
    with page.context.expect_page() as shown:
        page.click("#reports button")
    report = shown.value
    report.wait_for_url("**/reports/**")
    assert report.inner_text("h1") == "All is sound"
    assert report.title() != "ran"
    assert report.evaluate("window.opener") is None
    report.close()

    (data / "reports" / "check-latest.html").unlink()
    page.click("#reports button")
    page.wait_for_selector("#reports-problem:not(:empty)")
    assert "no report of this name" in opened.text("#reports-problem")
