"""A headless Chromium, and a browser tab that notices what a page must never do."""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from tests.browser.scripted import Script, scripted_app
from tests.browser.served import Served

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser a module: while it runs, this thread has an event loop, which no other test may meet."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        browser.close()


@dataclass
class Tab:
    """A tab, what it asked for, and what its console said."""

    context: BrowserContext
    page: Page
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def log_in(self, url: str, token: str) -> None:
        self.page.goto(url)
        self.page.fill("#token", token)
        self.page.press("#token", "Enter")
        self.page.wait_for_selector("#line[data-state=live]")
        self.page.wait_for_selector("#board[aria-busy=false]")

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)


Open = Callable[..., Tab]


@pytest.fixture
def tab(chromium: Browser) -> Iterator[Open]:
    """Opens tabs; in the end none has left this machine, failed, or broken its own policy."""
    tabs: list[Tab] = []

    def _open(**given: Any) -> Tab:
        given = {"viewport": {"width": 1280, "height": 900}, "timezone_id": "Europe/Zurich"} | given
        context = chromium.new_context(**given)
        context.set_default_timeout(15_000)
        opened = Tab(context, context.new_page())
        opened.page.on("request", lambda request: opened.asked.append(request.url))
        opened.page.on("websocket", lambda websocket: opened.asked.append(websocket.url))
        opened.page.on("console", lambda message: _note(opened, message))
        opened.page.on("pageerror", lambda error: opened.failed.append(str(error)))
        tabs.append(opened)
        return opened

    yield _open
    for opened in tabs:
        cookies = opened.context.cookies()
        opened.context.close()
        assert cookies == []
        assert {urlsplit(url).hostname for url in opened.asked} == {"127.0.0.1"}
        assert opened.failed == []
        assert opened.said == []


# Chromium itself says so when the server refuses or is gone, whatever the page does about it.
_OF_THE_BROWSER = re.compile(
    "Failed to load resource|WebSocket connection to .* failed: (Error (in|during)|WebSocket is closed)"
)


def _note(tab: Tab, message: ConsoleMessage) -> None:
    if message.type in {"error", "warning"} and not _OF_THE_BROWSER.search(message.text):
        tab.said.append(message.text)


@pytest.fixture
def served() -> Iterator[Callable[[Script], Served]]:
    """Serves scripts, each until the test ends."""
    running: list[Served] = []

    def _serve(script: Script) -> Served:
        running.append(Served(lambda: scripted_app(script)).start())
        return running[-1]

    yield _serve
    for server in running:
        server.stop()
