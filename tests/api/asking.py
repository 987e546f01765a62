"""The real application on a real server over a data folder, and what it answers to somebody with the token."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx

from config.loading import load_settings
from config.settings import Settings
from fluxhero.api.app import create_app
from fluxhero.api.services import NoRuns, RunSource
from tests.api.filled import NOW
from tests.api.server import TOKEN, serving


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def move(self, by: timedelta) -> None:
        self.now += by


@dataclass
class Asker:
    """Asks the service, with the token unless told otherwise."""

    client: httpx.Client
    settings: Settings
    clock: Clock

    def get(self, path: str, status: int = 200, /, **parameters: Any) -> Any:
        """The JSON of an answer that has this status."""
        response = self.client.get(path, params=parameters)
        assert response.status_code == status, response.text
        return response.json()

    def error(self, path: str, status: int, /, **parameters: Any) -> dict[str, str]:
        """What is wrong, by the answer."""
        error: dict[str, str] = self.get(path, status, **parameters)["error"]
        assert str(self.settings.data_dir) not in str(error)
        return error


@contextmanager
def asking(runs: RunSource | None = None, **settings: Any) -> Iterator[Asker]:
    """A service by the settings of the environment."""
    given = {"auth_secret": TOKEN, "rate_limit": "100000/minute", **settings}
    loaded, clock = load_settings(env_file=None, **given), Clock()
    app = create_app(loaded, runs=runs or NoRuns(), clock=clock)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with (
        serving(app) as url,
        httpx.Client(base_url=url, headers=headers, timeout=30, trust_env=False) as client,
    ):
        yield Asker(client, loaded, clock)
