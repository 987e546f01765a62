"""Where alerts go: what a configured URL is called in front of people, for it is a secret itself."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from config.settings import Settings

_HIDDEN: Final = "****"
_SHORTEST_SECRET: Final = (
    3  # characters; to hide every shorter part would make nonsense of a message
)
_ADDRESS: Final = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]*://\S+")
_BETWEEN_PARTS: Final = re.compile(r"[/:@,;]+")
# 32 bits tell a handful of targets apart, and leave who guesses a password a few hundred million that fit.
_DIGEST_LENGTH: Final = 8


@dataclass(frozen=True)
class Target:
    """One place that alerts are sent to.

    Attributes:
        place: its number in the setting, from 1.
        url: its Apprise URL, a secret.
    """

    place: int
    url: str = field(repr=False)

    @property
    def digest(self) -> str:
        """What it is called in files."""
        return hashlib.sha256(self.url.encode()).hexdigest()[:_DIGEST_LENGTH]

    @property
    def scheme(self) -> str:
        """What kind of target it is."""
        return self.url.partition("://")[0].lower()

    @property
    def shown(self) -> str:
        """What it is called in front of people."""
        return f"target {self.place} ({self.scheme}://…)"


def targets(settings: Settings) -> tuple[Target, ...]:
    """The configured ones, in order."""
    urls = enumerate(settings.alert_urls, start=1)
    return tuple(Target(place, url.get_secret_value()) for place, url in urls)


def redacted(text: str, url: str) -> str:
    """A library's message without any part of the URL but its scheme, each in whatever spelling."""
    spellings = {
        spelt
        for part in _parts(url)
        for spelt in (part, unquote(part), quote(unquote(part)), quote(unquote(part), safe=""))
        if len(spelt) >= _SHORTEST_SECRET
    }
    for secret in sorted(spellings, key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    # Apprise shortens addresses to their first and last letters, which still say something.
    return _ADDRESS.sub(_HIDDEN, text)


def _parts(url: str) -> Iterator[str]:
    scheme = url.partition("://")[0]
    yield url
    try:
        split = urlsplit(url)
    except ValueError:  # as of an unfinished [IPv6] address
        yield from _BETWEEN_PARTS.split(url.removeprefix(scheme))
        return
    yield split.netloc
    yield from _BETWEEN_PARTS.split(split.netloc)
    yield split.path
    yield from _BETWEEN_PARTS.split(split.path)
    yield from _BETWEEN_PARTS.split(split.fragment)
    for _, value in parse_qsl(split.query):
        yield value
        yield from _BETWEEN_PARTS.split(value)
