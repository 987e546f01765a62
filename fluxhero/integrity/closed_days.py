"""Days on which an exchange is closed though it is no weekend, for rules about missing days."""

from datetime import date, timedelta

import duckdb

from fluxhero.engine import literal
from fluxhero.market.calendar import calendar_of

_SATURDAY = 5


def tell_closed_days(
    connection: duckdb.DuckDBPyConnection, name: str, exchange: str, first: date, last: date
) -> None:
    """Set a variable of this name to the list of such days between two days.

    Args:
        connection: where the variable is wanted.
        name: of the variable.
        exchange: ISO 10383 code.
        first: first day.
        last: last day.

    Raises:
        ConfigurationError: no such exchange is known.
    """
    calendar = calendar_of("", exchange, first)
    sessions = {session.day for session in calendar.between(first, last)}
    every = (first + timedelta(days=number) for number in range((last - first).days + 1))
    closed = [
        literal(day.isoformat())
        for day in every
        if day.weekday() < _SATURDAY and day not in sessions and calendar.knows(day)
    ]
    connection.execute(f"SET VARIABLE {name} = [{', '.join(closed)}]::DATE[]")
