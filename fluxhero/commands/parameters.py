"""Options that several commands share, and how their values are read. Imports nothing heavy."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

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
        except ValueError:
            self.fail(
                f"{value!r} is no time; write it like 2026-03-31 or 2026-03-31T22:00:00Z",
                param,
                ctx,
            )
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


UTC_TIME = UtcTime()


def json_option(function: F) -> F:
    """`--json`: one document on stdout instead of text."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON document; logs stay on stderr."
    )(function)
