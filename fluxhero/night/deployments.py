"""What `prefect.yaml` says, read without Prefect: which deployments there are, and when they run."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import yaml

from fluxhero.durable import read_bytes
from fluxhero.errors import BadInputError, ConfigurationError, first_line
from fluxhero.zones import zone_named

POOL: Final = "fluxhero"
OURS: Final = "fluxhero"  # the tag of every deployment of ours
_FILE = "prefect.yaml"


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a deployment runs: cron in a zone, and the name that the schedule has there."""

    slug: str
    cron: str
    zone: ZoneInfo


@dataclass(frozen=True, slots=True)
class Deployment:
    """One deployment; its name is as `archive-trades/after-close`."""

    name: str
    tags: tuple[str, ...]
    schedules: tuple[Schedule, ...]


def read_deployments(checkout: Path) -> tuple[Deployment, ...]:
    """The deployments of a checkout, in the order in which they stand there.

    Raises:
        ConfigurationError: the file is missing or is not one that we wrote.
        StorageIOError: the operating system refuses.
    """
    path, document = _read(checkout)
    try:
        return tuple(_deployment(one) for one in document["deployments"])
    except (KeyError, TypeError, AttributeError, ValueError, BadInputError) as error:
        raise _unusable(path, error) from error


def with_paused(checkout: Path, paused: Collection[str]) -> str:
    """The text of `prefect.yaml` in which these deployments are paused.

    Raises:
        ConfigurationError: the file is missing or is not one that we wrote.
        StorageIOError: the operating system refuses.
    """
    _path, document = _read(checkout)
    for one in document["deployments"]:
        if _name(one) in paused:
            one["paused"] = True
    return str(yaml.safe_dump(document, sort_keys=False))


def _read(checkout: Path) -> tuple[Path, Any]:
    path = checkout / _FILE
    if not path.is_file():
        raise ConfigurationError(
            f"there is no {path}",
            next_step="run it in a clone of the repository, which has the deployments",
        )
    try:
        return path, yaml.safe_load(read_bytes(path))
    except yaml.YAMLError as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"{path} cannot be used: {type(error).__name__}: {first_line(error)}",
        next_step="`git diff prefect.yaml` shows what was changed in it",
    )


def _name(given: Mapping[str, Any]) -> str:
    flow = str(given["entrypoint"]).rpartition(":")[2].replace("_", "-")
    return f"{flow}/{given['name']}"


def _deployment(given: Mapping[str, Any]) -> Deployment:
    return Deployment(
        name=_name(given),
        tags=tuple(given["tags"]),
        schedules=tuple(
            Schedule(one["slug"], one["cron"], zone_named(one["timezone"]))
            for one in given["schedules"]
        ),
    )


def checkout() -> Path:
    """The folder of `prefect.yaml`: the one this code is in, or else the one that we were started in."""
    own = Path(__file__).parents[2]
    return own if (own / _FILE).is_file() else Path.cwd()
