"""Options that several commands share, and how their values are read. Imports nothing heavy."""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from config.bounds import MOST_DAYS, MOST_SECONDS

F = TypeVar("F", bound=Callable[..., Any])


class UtcTime(click.ParamType[datetime]):
    """A point in time in ISO 8601; without an offset it is UTC, without a time it is midnight."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Read the option's text."""
        if isinstance(value, datetime):
            return value
        try:
            time = datetime.fromisoformat(value)
            return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is no time; write it like 2026-03-31 or 2026-03-31T22:00:00Z",
                param,
                ctx,
            )


class Id(click.ParamType[str]):
    """An id or its beginning; an empty one would begin every id there is."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read the option's text."""
        text = str(value)
        if not text.strip():
            self.fail("it is empty; give an id", param, ctx)
        return text


class Seconds(click.FloatRange):
    """A length of time that a timer can count."""

    def __init__(self) -> None:
        super().__init__(0, MOST_SECONDS, min_open=True)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read the option's text; "nan" is in every range, as it is neither below nor above it."""
        seconds: float = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value!r} is no number of seconds", param, ctx)
        return seconds


UTC_TIME = UtcTime()
DAY = click.DateTime(["%Y-%m-%d"])
DAYS = click.IntRange(0, MOST_DAYS)
SECONDS = Seconds()
ID = Id()


def trades_option(*, required: bool) -> Callable[[F], F]:
    """`--trade`, again and again."""
    return click.option(
        "--trade",
        "trades",
        type=ID,
        multiple=True,
        required=required,
        metavar="ID",
        help="A trade's id, of a FluxHero trade as in live_trades:17; repeat for more.",
    )


def table_option(help_text: str) -> Callable[[F], F]:
    """`--table`: trades, or the finished orders of a DuckDB store."""
    return click.option(
        "--table",
        type=click.Choice(["trades", "orders"]),
        default="trades",
        show_default=True,
        help=help_text,
    )


def json_option(function: F) -> F:
    """`--json`: one document on stdout instead of text."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON document; logs stay on stderr."
    )(function)


def timeframe_option(function: F) -> F:
    """`--timeframe`: how long a bar of prices lasts."""
    return click.option(
        "--timeframe",
        default="1Day",
        show_default=True,
        metavar="T",
        help="Length of a bar: 1Day, 1Min to 59Min, 1Hour to 23Hour (or as in 1d, 5m, 1h).",
    )(function)
