"""The kinds of value that settings have: what each is read from, and what is wrong with any other.

What belongs here: types of fields, with their checks. Which setting has which type is in `settings`.
"""

import re
from decimal import Decimal
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    BeforeValidator,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
)
from pydantic_settings import NoDecode

_STORE_URL = re.compile(r"(duckdb|sqlite):///(.+)")
_RATE = re.compile(r"[1-9][0-9]{0,8}/(second|minute|hour|day)")
_HOST = re.compile(r"[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\]")
_SCHEDULER = re.compile(r"(tcp|tls)://[A-Za-z0-9.-]+:[0-9]{1,5}")
_HTTP_URL = TypeAdapter(AnyHttpUrl)
# A URL may have commas in it: one parts two URLs only where the next begins with its scheme.
_BETWEEN_URLS = re.compile(r"\s+|,(?=[A-Za-z][A-Za-z0-9+.-]*://)")
_ANY_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/].*")


def absolute(path: Path) -> Path:
    """The path with `~`, `..` and links resolved.

    Raises:
        ValueError: it leads nowhere.
    """
    try:
        return path.expanduser().resolve()
    except RuntimeError as error:  # a `~name` or symbolic-link loop that leads nowhere
        raise ValueError(f"{path} does not lead anywhere: {error}") from error


def _folder(path: Path) -> Path:
    path = absolute(path)
    if path.exists() and not path.is_dir():
        raise ValueError(f"{path} exists and is not a folder")
    return path


def as_text(value: object) -> str:
    """A value as it is written in a `.env` file; empty for None."""
    if value is None:
        return ""
    if isinstance(value, tuple):
        return ",".join(
            "=".join(map(str, one)) if isinstance(one, tuple) else str(one) for one in value
        )
    return str(value)


def _file(path: Path) -> Path:
    path = absolute(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; it should be a file")
    if path.exists() and not path.is_file():  # a pipe or a device is read for ever
        raise ValueError(f"{path} is a pipe or a device; it should be a file")
    return path


def _program(path: Path) -> Path:
    """Not resolved: the interpreter of an environment is a link, and is one only by that name."""
    try:
        return path.expanduser().absolute()
    except RuntimeError as error:
        raise ValueError(f"{path} does not lead anywhere: {error}") from error


def _prom(path: Path) -> Path:
    if path.suffix != ".prom":
        raise ValueError("should end in .prom: the node exporter reads no other file")
    return path


def _store_url(url: str) -> str:
    match = _STORE_URL.fullmatch(url)
    if match is None or match[2].strip("/") in ("", ":memory:"):
        raise ValueError("should read duckdb:///path/to/file or sqlite:///path/to/file")
    path = absolute(Path(match[2]))
    if path.is_dir():
        raise ValueError(f"{path} is a folder; the store is a file")
    from_root = Path("/", match[2])
    if not path.exists() and from_root.is_file():
        raise ValueError(
            f"there is no {path}; an absolute path has four slashes: {match[1]}:///{from_root}"
        )
    return f"{match[1]}:///{path}"


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(
            "should be an IANA time zone such as UTC, America/New_York or Europe/Berlin"
        ) from error
    return name


def _exchange(code: str) -> str:
    if re.fullmatch(r"[A-Z0-9]{4}|24/7", code) is None:
        raise ValueError(
            "should be four letters such as XNYS, or 24/7 for markets that never close"
        )
    return code


def _http_url(url: str) -> str:
    try:
        _HTTP_URL.validate_python(url)
    except ValidationError as error:
        raise ValueError("should read https://host or https://host/path") from error
    return url.rstrip("/")


def _rate(text: str) -> str:
    if _RATE.fullmatch(text) is None:
        raise ValueError(
            "should read like 120/minute (or /second, /hour, /day), with nine digits at most"
        )
    return text


def _split(value: object) -> object:
    if not isinstance(value, str):
        return value
    return tuple(part.strip().rstrip("/") for part in value.split(",") if part.strip())


def _origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    for origin in origins:
        if origin != "*" and not re.fullmatch(r"https?://[^/\s]+", origin):
            raise ValueError(f"{origin!r} should read https://host or http://host:port")
    return origins


def _hosts(hosts: tuple[str, ...]) -> tuple[str, ...]:
    for host in hosts:
        if _HOST.fullmatch(host) is None:
            raise ValueError(f"{host!r} should be a host name without scheme or port")
    return hosts


def _networks(proxies: tuple[str, ...]) -> tuple[str, ...]:
    for proxy in proxies:
        try:
            ip_network(proxy)
        except ValueError as error:
            raise ValueError(
                f"{proxy!r} should be an address or a network such as 10.0.0.0/8"
            ) from error
    return proxies


def _paths(paths: tuple[Path, ...]) -> tuple[Path, ...]:
    return tuple(absolute(path) for path in paths)


def _scheduler(text: str) -> str:
    if text != "local" and not _SCHEDULER.fullmatch(text):
        raise ValueError("should read local, or tcp://host:port of a Dask scheduler")
    return text


def _split_urls(value: object) -> object:
    if not isinstance(value, str):
        return value
    parts = (part.strip(",") for part in _BETWEEN_URLS.split(value))
    return tuple(dict.fromkeys(part for part in parts if part))


def _alert_urls(urls: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    """What is wrong is told by its place: the URL itself is a secret."""
    for place, url in enumerate(urls, start=1):
        if _ANY_URL.fullmatch(url.get_secret_value()) is None:
            raise ValueError(f"number {place} of {len(urls)} does not read like scheme://…")
    return urls


def _pairs(value: object) -> object:
    """Read `name=value,name=value`."""
    if not isinstance(value, str):
        return value
    pairs = []
    for part in (part.strip() for part in value.split(",")):
        name, equals, given = part.partition("=")
        if part and not (equals and name.strip() and given.strip()):
            raise ValueError(f"{part!r} should read name=value")
        if part:
            pairs.append((name.strip(), given.strip()))
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("names a thing twice")
    return tuple(pairs)


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


Fraction = Annotated[Decimal, Field(gt=0, le=1, allow_inf_nan=False)]
Folder = Annotated[Path, AfterValidator(_folder)]
File = Annotated[Path, AfterValidator(_file)]
PromFile = Annotated[Path, AfterValidator(_file), AfterValidator(_prom)]
StoreUrl = Annotated[str, AfterValidator(_store_url)]
ZoneName = Annotated[str, AfterValidator(_zone)]
ExchangeCode = Annotated[str, AfterValidator(_exchange)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
Rate = Annotated[str, AfterValidator(_rate)]
Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_origins)]
Hosts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_hosts)]
Networks = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_networks)]
Paths = Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_split), AfterValidator(_paths)]
AlertUrls = Annotated[
    tuple[SecretStr, ...], NoDecode, BeforeValidator(_split_urls), AfterValidator(_alert_urls)
]
DaskScheduler = Annotated[str, AfterValidator(_scheduler)]
Program = Annotated[Path, AfterValidator(_program)]
Programs = Annotated[tuple[tuple[str, Program], ...], NoDecode, BeforeValidator(_pairs)]
Weight = Annotated[Decimal, Field(ge=0, le=1_000, allow_inf_nan=False)]
Weights = Annotated[tuple[tuple[str, Weight], ...], NoDecode, BeforeValidator(_pairs)]
UpperCase = BeforeValidator(_upper)
