"""Look up when the engines were last released: `python -m benchmarks.engine_releases INDEX_ADDRESS`.

The address is that of a package index with the JSON form of the simple API (PEP 691, upload times of
PEP 700), as `pip config` names it. Writes fluxhero/backtest/releases.json with the day of the look-up.
"""

import argparse
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx

from fluxhero.backtest.engines import ENGINES
from fluxhero.backtest.facts import RELEASES, LookedUp, Releases
from fluxhero.durable import write_atomically

_JSON = "application/vnd.pypi.simple.v1+json"
_FINAL = re.compile(r"\d+(\.\d+)*(\.?post\d+)?")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("index", help="address of the simple API")
    index = parser.parse_args().index.rstrip("/")
    today = datetime.now(UTC).date()
    engines = {}
    with httpx.Client(headers={"Accept": _JSON}, follow_redirects=True, timeout=60) as client:
        for engine in ENGINES:
            project = client.get(f"{index}/{engine.distribution}/").raise_for_status().json()
            engines[engine.name] = releases_of(project, today)
            print(engine.name, engines[engine.name])
    known = LookedUp(looked_up=today, engines=engines)
    write_atomically(RELEASES, known.model_dump_json(indent=1).encode() + b"\n")


def releases_of(project: dict[str, Any], today: date) -> Releases:
    """When each final release first appeared; a file names its version after the project's name."""
    appeared: dict[str, datetime] = {}
    for file in project["files"]:
        version = next(
            (one for one in project["versions"] if f"-{one}-" in file["filename"]
             or re.search(rf"-{re.escape(one)}\.(tar\.gz|zip)$", file["filename"])),
            None,
        )  # fmt: skip
        if version and _FINAL.fullmatch(version) and not file.get("yanked"):
            at = datetime.fromisoformat(file["upload-time"])
            appeared[version] = min(at, appeared.get(version, at))
    latest = max(appeared, key=lambda version: appeared[version])
    year_ago = today - timedelta(days=365)
    return Releases(
        latest=latest,
        last_release=appeared[latest].date(),
        releases_in_year=sum(at.date() > year_ago for at in appeared.values()),
    )


if __name__ == "__main__":
    main()
