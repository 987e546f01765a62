"""A server that has our deployments: what tests ask it, and a worker that does what is due on it."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

RUN_SECONDS = 240


def environment(**changes: str | None) -> dict[str, str]:
    """The test's environment with changes; None takes a variable away."""
    merged = {**os.environ, "NO_COLOR": "1", **changes}
    return {name: value for name, value in merged.items() if value is not None}


def post(path: str, **body: Any) -> Any:
    """What the server's API answers; asked again, as Prefect's own client does, while it is busy."""
    import httpx
    from prefect.settings import PREFECT_API_URL

    for pause in (0.5, 1, 2, 4, 8, None):
        answer = httpx.post(f"{PREFECT_API_URL.value()}{path}", json=body, timeout=60)
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or pause is None:
            break
        time.sleep(pause)
    return answer.raise_for_status().json()


def work_once(api_url: str, folder: Path, **changes: str) -> str:
    """Let a worker do what is due and return what it said; afterwards it is gone in any case."""
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "fluxhero"]
    settings = {"FLUXHERO_DATA_DIR": str(folder / "data"), **changes}
    with subprocess.Popen(
        [*command, "--run-once", "--install-policy", "never"],
        cwd=folder,  # not the checkout: the deployment knows where that is
        env=environment(PREFECT_API_URL=api_url, **settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as worker:
        try:
            return worker.communicate(timeout=RUN_SECONDS)[0]
        finally:
            worker.kill()
