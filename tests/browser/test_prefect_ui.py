"""Prefect's UI as somebody new meets it: what is scheduled, a run of their own, what it found and said."""

import re
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from tests import samples
from tests.browser.prefect_pages import (
    from_the_front_page_to_a_result,
    read_artifact,
    read_logs,
)
from tests.night.shift import Shift

FLOW, DEPLOYMENT = "snapshot-metrics", "hourly"
TRADES, PATIENCE_MS = 4, 60_000


@pytest.fixture(scope="module")
def ui_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a night shift on a store with a few closed trades, each of another day."""
    shift = Shift(tmp_path_factory.mktemp("night"))
    store = shift.data / "fluxhero.duckdb"
    samples.create_duckdb_store(store)
    closed = [samples.AS_OF - timedelta(days=5 * number) for number in range(TRADES)]
    trades = [
        samples.ledger_trade(number, entry_time=at - timedelta(hours=1), exit_time=at)
        for number, at in enumerate(closed)
    ]
    samples.insert_duckdb(store, "trades", *trades)
    try:
        state = shift.up().known()
        assert state is not None
        yield state.ui_url
    finally:
        shift.stop()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A tab that in the end has talked to this machine only."""
    context = chromium.new_context(viewport={"width": 1280, "height": 3000})
    context.set_default_timeout(PATIENCE_MS)
    opened = context.new_page()
    asked: set[str | None] = set()
    opened.on("request", lambda request: asked.add(urlsplit(request.url).hostname))
    opened.on("websocket", lambda socket: asked.add(urlsplit(socket.url).hostname))
    yield opened
    context.close()
    assert asked - {None} == {"127.0.0.1"}  # None: what the page made itself, as a blob


@pytest.mark.server
def test_somebody_new_runs_a_snapshot_and_reads_what_it_found(ui_url: str, page: Page) -> None:
    from_the_front_page_to_a_result(page, ui_url, DEPLOYMENT)
    heading = page.inner_text("main")
    assert re.search(rf"{FLOW} \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d UTC", heading)
    for tag in ("fluxhero", "metrics"):
        assert tag in heading

    log = read_logs(page)
    for step in ("ledger: 1 account", "Within every limit", "Finished in state Completed"):
        assert step in log, log
    for noise in ("Hook 'count_run'", "Finished in state Completed()", "Traceback"):
        assert noise not in log

    found = read_artifact(page, FLOW)
    for part in ("Within every limit", "Accounts", "Positions", "History"):
        assert part in found, found
    expect(page.locator("main svg[aria-roledescription=xychart]")).to_have_count(
        2, timeout=PATIENCE_MS
    )
