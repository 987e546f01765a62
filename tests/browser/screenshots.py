"""Pictures of the operations page for the documentation: `python -m tests.browser.screenshots`.

All of it is real: a Prefect server with the deployments of `prefect.yaml`, `fluxhero demo` and a snapshot
run against it, and `fluxhero serve` over what they left. Takes a few minutes.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser, sync_playwright

from tests.browser.conftest import ARGUMENTS, CHROMIUM
from tests.browser.small_png import smaller

REPOSITORY = Path(__file__).parents[2]
PICTURES = REPOSITORY / "docs" / "img"
STARTS_WITHIN = 120
WIDE: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}}
PHONE: dict[str, Any] = {"viewport": {"width": 360, "height": 740}, "device_scale_factor": 2}
SHOTS = {
    "operations-light": (WIDE | {"color_scheme": "light"}, None),
    "operations-dark": (WIDE | {"color_scheme": "dark"}, None),
    "operations-phone": (PHONE | {"color_scheme": "light"}, 1640),
}
PREFECT = ("-m", "prefect", "--no-prompt")
FLUXHERO = ("-c", "from fluxhero.cli import main; main()")


def main() -> None:
    """Set everything up, take the pictures, take everything down."""
    with tempfile.TemporaryDirectory(prefix="pictures-") as folder:
        home, demo = Path(folder) / "prefect", Path(folder) / "demo"
        ports = [free_port(), free_port()]
        environment = os.environ | {
            "PREFECT_HOME": str(home),
            "PREFECT_API_URL": f"http://127.0.0.1:{ports[0]}/api",
            "PYTHONPATH": str(REPOSITORY),
            "NO_COLOR": "1",
        }
        server = (*PREFECT, "server", "start", "--port", str(ports[0]), "--no-ui")
        with running(server, environment, f"http://127.0.0.1:{ports[0]}/api/health"):
            run((*PREFECT, "work-pool", "create", "--type", "process", "fluxhero"), environment)
            run((*PREFECT, "work-queue", "create", "store", "--pool", "fluxhero"), environment)
            run((*PREFECT, "deploy", "--all"), environment)
            run((*FLUXHERO, "demo", "--folder", str(demo)), environment)
            ours = environment | {"FLUXHERO_DATA_DIR": str(demo)}
            run((*FLUXHERO, "snapshot"), ours, ends_with=(0, 1))
            run((*FLUXHERO, "doctor", "--make-secret"), ours, ends_with=(0, 1))
            url = f"http://127.0.0.1:{ports[1]}"
            with running((*FLUXHERO, "serve", "--port", str(ports[1])), ours, f"{url}/livez"):
                take(url, (demo / "auth-secret").read_text("utf-8").strip())


def take(url: str, token: str) -> None:
    """Take every picture."""
    PICTURES.mkdir(parents=True, exist_ok=True)
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


def run(
    arguments: Sequence[str], environment: dict[str, str], ends_with: tuple[int, ...] = (0,)
) -> None:
    """Run a command of the product's or Prefect's."""
    command = [sys.executable, *arguments]
    ended = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode in ends_with, f"{command}\n{ended.stdout}\n{ended.stderr}"


@contextmanager
def running(arguments: Sequence[str], environment: dict[str, str], url: str) -> Iterator[None]:
    """A service, from when it answers until the block ends."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + STARTS_WITHIN
        while not _answers(url):
            assert process.poll() is None, f"{arguments} ended"
            assert time.monotonic() < until, f"{arguments} does not answer"
            time.sleep(0.5)
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
