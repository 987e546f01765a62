"""Pictures of both pages for the documentation: `python -m tests.browser.screenshots`.

All of it is real: what `fluxhero demo` left, and a night shift on it. Takes a few minutes.
"""

import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from tests.browser.conftest import ARGUMENTS, CHROMIUM
from tests.browser.prefect_pages import from_the_front_page_to_a_result, read_artifact
from tests.browser.small_png import smaller
from tests.night.shift import Shift

PICTURES = Path(__file__).parents[2] / "docs" / "img"
RUN_SECONDS, DEMO_SECONDS = 300, 900
WIDE: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}}
PHONE: dict[str, Any] = {"viewport": {"width": 360, "height": 740}, "device_scale_factor": 2}
DEPLOYMENT, FLOW = "hourly", "snapshot-metrics"
PATIENCE = 120_000  # ms
SETTLES = 2_500  # ms, until charts are drawn
SHOTS = {
    "operations-light": (WIDE | {"color_scheme": "light"}, None),
    "operations-dark": (WIDE | {"color_scheme": "dark"}, None),
    "operations-phone": (PHONE | {"color_scheme": "light"}, 1640),
}
TALL: dict[str, Any] = {"viewport": {"width": 1280, "height": 1000}}


def main() -> None:
    """Set everything up, take the pictures, take everything down."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pictures-") as folder:
        shift = Shift(Path(folder))
        shift.data.rmdir()  # the demo makes it
        for arguments in (("demo", "--folder", str(shift.data)), ("doctor", "--make-secret")):
            ended = shift.run(*arguments, seconds=DEMO_SECONDS)
            assert ended.returncode in {0, 1}, ended.stderr
        try:
            state = shift.up().known()
            assert state is not None
            for deployment in ("archive-trades/after-close", "check-storage/daily"):
                run = shift.start(deployment)
                ended_as = lambda run=run: shift.state(run) in {"COMPLETED", "FAILED"}  # noqa: E731
                shift.wait(ended_as, RUN_SECONDS, deployment)
            take_first_night(state.ui_url)
            take(str(state.page_url), (shift.data / "auth-secret").read_text("utf-8").strip())
        finally:
            shift.stop()


def take_first_night(url: str) -> None:
    """Take the pictures of Prefect's UI, on the way that somebody new goes."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        context = browser.new_context(**TALL, timezone_id="America/New_York")
        context.set_default_timeout(PATIENCE)
        page, blank = context.new_page(), context.new_page()

        def look(name: str) -> None:
            page.wait_for_load_state("networkidle")
            page.wait_for_timeout(SETTLES)
            path = PICTURES / f"prefect-{name}.png"
            path.write_bytes(smaller(blank, page.screenshot()))

        from_the_front_page_to_a_result(page, url, DEPLOYMENT, look)
        read_artifact(page, FLOW, look)
        browser.close()


def take(url: str, token: str) -> None:
    """Take every picture of the operations page."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        for name, (options, height) in SHOTS.items():
            _take(browser, url, token, PICTURES / f"{name}.png", options, height)
        browser.close()


def _take(
    browser: Browser, url: str, token: str, path: Path, options: dict[str, Any], height: int | None
) -> None:
    context = browser.new_context(**options, timezone_id="America/New_York")
    page = context.new_page()
    page.goto(url)
    page.fill("#token", token)
    page.press("#token", "Enter")
    page.wait_for_selector("#line[data-state=live]")
    page.wait_for_selector("#board[aria-busy=false]")
    page.click("label[for=mode-switch-paper]")
    page.click("label[for=span-switch-all]")
    page.mouse.move(0, 0)
    page.wait_for_timeout(500)
    width = options["viewport"]["width"]
    clip = None if height is None else {"x": 0, "y": 0, "width": width, "height": height}
    picture = page.screenshot(full_page=True, clip=clip)  # type: ignore[arg-type]
    page.goto("about:blank")  # where no policy forbids to read it
    path.write_bytes(smaller(page, picture))
    context.close()


if __name__ == "__main__":
    main()
