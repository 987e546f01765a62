"""The way of somebody new through Prefect's UI, click by click; the test and the documentation's pictures go it."""

import re
from collections.abc import Callable
from contextlib import suppress

from playwright.sync_api import Page
from playwright.sync_api import TimeoutError as PlaywrightTimeout

STARTS_AND_ENDS_WITHIN = 120_000  # ms, of a run on a loaded machine
LAST_LINES_WITHIN, RELOADS = 8_000, 5  # ms

Look = Callable[[str], object]


def never(_name: str) -> None:
    """Take no picture."""


def from_the_front_page_to_a_result(
    page: Page, url: str, deployment: str, look: Look = never
) -> str:
    """Open the UI, find the deployment, run it, wait for it; returns the run's id.

    Args:
        page: a new one.
        url: of the UI.
        deployment: name of one whose name no other one has.
        look: called by the name of what is shown, once it is.
    """
    page.goto(url)
    page.get_by_role("link", name="Deployments", exact=True).click()
    row = page.get_by_role("link", name=deployment, exact=True).first
    row.wait_for()
    look("deployments")
    row.click()
    page.get_by_text("Schedules", exact=True).wait_for()
    look("deployment")
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Quick run").click()
    page.get_by_role("link", name="View run").or_(
        page.get_by_role("button", name="View run")
    ).first.click()
    page.wait_for_url("**/runs/flow-run/*")
    page.get_by_role("tab", name="Artifacts").wait_for(
        timeout=STARTS_AND_ENDS_WITHIN
    )  # it has begun
    ended = page.get_by_text(re.compile("^(Completed|Completed with findings|Failed|Crashed)$"))
    ended.first.wait_for(timeout=STARTS_AND_ENDS_WITHIN)
    look("run")
    return re.search(r"flow-run/([0-9a-f-]+)", page.url)[1]  # type: ignore[index]


def read_logs(page: Page) -> str:
    """The log on a run's page, which stops asking for lines when the run ends: the last come by loading it anew."""
    page.get_by_role("tab", name="Logs").click()
    for _ in range(RELOADS):
        with suppress(PlaywrightTimeout):
            page.get_by_text("Finished in state").first.wait_for(timeout=LAST_LINES_WITHIN)
            break
        page.reload()
    return page.inner_text("main")


def read_artifact(page: Page, key: str, look: Look = never) -> str:
    """From a run's page over the history of one of its artifacts to the newest one; returns its text."""
    page.get_by_role("tab", name="Artifacts").click()
    card = page.locator(f'a[href$="/artifacts/key/{key}"]').first
    card.wait_for()
    look("artifacts")
    card.click()
    page.locator('a[href*="/artifacts/artifact/"]').first.click()
    page.wait_for_url("**/artifacts/artifact/*")
    page.get_by_role("tab", name="Raw").wait_for()
    page.wait_for_load_state("networkidle")
    look("artifact")
    return page.inner_text("main")
