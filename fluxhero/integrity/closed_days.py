"""Days on which an exchange is closed though it is no weekend, for rules about missing days."""

import warnings
from datetime import date, timedelta

import duckdb

from fluxhero.engine import literal

_FIRST = date(1990, 1, 1)


def tell_closed_days(
    connection: duckdb.DuckDBPyConnection, name: str, exchange: str, first: date, last: date
) -> None:
    """Set a variable of this name to the list of such days between two days.

    Args:
        connection: where the variable is wanted.
        name: of the variable.
        exchange: ISO 10383 code.
        first: first day; days before 1990 do not count.
        last: last day.
    """
    days = [] if last < _FIRST else _closed(exchange, max(first, _FIRST), last)
    listed = ", ".join(literal(day.isoformat()) for day in days)
    connection.execute(f"SET VARIABLE {name} = [{listed}]::DATE[]")


def _closed(exchange: str, first: date, last: date) -> list[date]:
    import exchange_calendars  # it imports pandas

    # A calendar of one day or of a weekend has no session, which the library refuses.
    start, end = first - timedelta(days=14), last + timedelta(days=14)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library speaks of what pandas will change
        calendar = exchange_calendars.get_calendar(exchange, start=str(start), end=str(end))
        sessions = {session.date() for session in calendar.sessions}
    every = (first + timedelta(days=number) for number in range((last - first).days + 1))
    return [day for day in every if day.weekday() < 5 and day not in sessions]  # noqa: PLR2004 - Saturday
