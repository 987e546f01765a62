"""Whether the parts answer: asked in a thread of its own, so that one that hangs holds up nobody."""

import http.client
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit

SOON_SECONDS: Final = 0.5  # between questions to what has not answered yet
LATER_SECONDS: Final = 10.0  # to what did
ANSWER_SECONDS: Final = 5.0


@dataclass(frozen=True)
class Health:
    """What was heard of one part; times as `time.monotonic` gives them.

    Attributes:
        answered: when it was well last; None if never.
        failing_since: when it first did not answer after that; None while it does.
        failures: how often it has not answered since.
    """

    answered: float | None = None
    failing_since: float | None = None
    failures: int = 0

    def next(self, now: float, *, well: bool) -> "Health":
        """After one more question."""
        if well:
            return Health(answered=now)
        since = now if self.failing_since is None else self.failing_since
        return replace(self, failing_since=since, failures=self.failures + 1)


class Watch(threading.Thread):
    """Asks each part again and again until it is told to stop.

    Args:
        urls: by the part's name; each answers with status 200 while all is well.
    """

    def __init__(self, urls: Mapping[str, str]) -> None:
        super().__init__(name="health", daemon=True)
        self._urls = urls
        self._found: dict[str, Health] = {}
        self._wake = threading.Event()
        self._ends = False

    def of(self, name: str) -> Health:
        """What was heard of a part."""
        return self._found.get(name, Health())

    def started(self, name: str) -> None:
        """Forget what was heard of a part: it is another process now."""
        self._found.pop(name, None)
        self._wake.set()

    def stop(self) -> None:
        """Ask no more."""
        self._ends = True
        self._wake.set()

    def run(self) -> None:
        """Ask until told to stop."""
        while not self._ends:
            for name, url in self._urls.items():
                before = self._found.get(name)
                heard = (before or Health()).next(time.monotonic(), well=answers(url))
                if self._found.get(name) is before:  # it was not started again meanwhile
                    self._found[name] = heard
            well = all(health.answered and not health.failures for health in self._all())
            self._wake.clear()
            self._wake.wait(LATER_SECONDS if well else SOON_SECONDS)

    def _all(self) -> list[Health]:
        return [self.of(name) for name in self._urls]


def answers(url: str, seconds: float = ANSWER_SECONDS) -> bool:
    """Whether a GET is answered with status 200."""
    place = urlsplit(url)
    kind = http.client.HTTPSConnection if place.scheme == "https" else http.client.HTTPConnection
    connection = kind(place.hostname or "", place.port, timeout=seconds)
    try:
        connection.request("GET", place.path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
