"""What is known of an engine besides its results: measured in its environment, or looked up on a stated day.

`releases.json` beside this module is what the package index said of releases; maintainers look it up again
with `python -m benchmarks.engine_releases`.
"""

import functools
from datetime import date
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

from fluxhero.backtest.environments import Environment
from fluxhero.durable import read_bytes

RELEASES: Final = Path(__file__).parent / "releases.json"
# In our own words, of the releases in the locks; no legal advice. Empty where nothing is in a trader's way.
_FORBIDS: Final = {
    "backtrader": "GPL 3 or later: a program that contains it can be passed on only as a whole under the GPL,"
    " with its source",
    "vectorbt": "Apache 2.0 with the Commons Clause: no selling of a product or service, hosting and"
    " consulting included, whose value comes substantially from it",
    "zipline": "",
    "backtesting": "AGPL 3: as the GPL, and whoever uses a changed version over a network must be offered its"
    " source",
    "bt": "",
    "nautilus": "LGPL 3 or later: its own code, changed or not, stays under the LGPL and has to be replaceable"
    " in what is passed on",
}


class Releases(BaseModel):
    """What the package index said of one engine's releases."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    latest: str
    last_release: date
    releases_in_year: int


class LookedUp(BaseModel):
    """What the package index said on one day; releases by engine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    looked_up: date
    engines: dict[str, Releases]


class EngineFacts(BaseModel):
    """What is known of an engine besides its results.

    Attributes:
        python: version that it runs on here.
        requires_python: as its metadata states.
        licence: as its metadata or its licence file states.
        forbids: what that keeps a trader from, in our own words; empty where nothing.
        packages: how many it brings, itself included.
        megabytes: what these take on disk, in MiB.
        latest: the latest release that the index knew.
        last_release: when it was.
        releases_in_year: in the 12 months before the look-up.
        looked_up: when the index was asked; None where it was not asked for this engine.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    python: str
    requires_python: str
    licence: str
    forbids: str
    packages: int
    megabytes: float
    latest: str
    last_release: date | None
    releases_in_year: int | None
    looked_up: date | None


def engine_facts(environment: Environment) -> EngineFacts:
    """What is known of the engine in this environment."""
    name = environment.engine.name
    known = _looked_up()
    releases = known.engines.get(name)
    return EngineFacts(
        python=environment.installed.python,
        requires_python=environment.installed.requires_python,
        licence=environment.installed.licence,
        forbids=_FORBIDS[name],
        packages=environment.packages,
        megabytes=round(environment.megabytes, 1),
        latest=releases.latest if releases else "",
        last_release=releases.last_release if releases else None,
        releases_in_year=releases.releases_in_year if releases else None,
        looked_up=known.looked_up if releases else None,
    )


@functools.cache
def _looked_up() -> LookedUp:
    return LookedUp.model_validate_json(read_bytes(RELEASES))
