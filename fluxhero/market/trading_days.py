"""Whether something that is scheduled by the clock has anything to do with the exchange closed.

A schedule is cron, which knows no holidays and no early closes. The tags of a deployment say what it is
bound to: `trading-days`, or `in-session` for the hours of a session. Who asks, and what comes of it, is
elsewhere.
"""

import logging
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fluxhero.errors import ConfigurationError
from fluxhero.market.calendar import Calendar, calendar_of

logger = logging.getLogger(__name__)

TRADING_DAYS: Final = "trading-days"
IN_SESSION: Final = "in-session"
HOLIDAY: Final = "Holiday"
OUT_OF_SESSION: Final = "Out of session"
# A run that ends in a state of one of these names has done nothing, as it should.
NOTHING_TO_DO: Final = frozenset({HOLIDAY, OUT_OF_SESSION})


@dataclass(frozen=True, slots=True)
class Closed:
    """Why nothing is to be done.

    Attributes:
        name: short; of `NOTHING_TO_DO`.
        why: one sentence without its full stop.
    """

    name: str
    why: str


def closed_at(exchange: str, tags: Collection[str], at: datetime) -> Closed | None:
    """Why something with these tags has nothing to do at a moment; None where it has.

    Beyond the calendar's range, and of an exchange that is not known, nobody can tell: None as well.

    Args:
        exchange: ISO 10383 code.
        tags: of the deployment.
        at: when it is to run, with its zone.
    """
    if not {TRADING_DAYS, IN_SESSION} & set(tags):
        return None
    try:
        calendar = calendar_of("", exchange, at.date())
    except ConfigurationError as error:
        logger.warning("holidays are not known, so what is scheduled is run: %s", error)
        return None
    return _closed(calendar, at, in_session=IN_SESSION in tags)


def _closed(calendar: Calendar, at: datetime, *, in_session: bool) -> Closed | None:
    local = at.astimezone(calendar.zone)
    day = local.date()
    if not calendar.knows(day):
        logger.warning("the calendar of %s does not reach to %s", calendar.code, day)
        return None
    session = calendar.session(day)
    if session is None:
        return Closed(HOLIDAY, f"{calendar.code} is closed on {day} ({day:%A})")
    if not in_session or session.opens <= at <= session.closes:
        return None
    opens, closes = (one.astimezone(calendar.zone) for one in (session.opens, session.closes))
    hours = f"{opens:%H:%M} to {closes:%H:%M}"
    return Closed(
        OUT_OF_SESSION, f"{calendar.code} trades from {hours} on {day}, and not at {local:%H:%M}"
    )
