"""Numbers and times as a Flex file writes them, made into the texts that the rules judge.

Nothing is rounded and nothing guessed: a text that is understood in no way is passed on as it is,
and the rules refuse it by name.
"""

import functools
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Context, Decimal, Inexact, InvalidOperation
from zoneinfo import ZoneInfo

NOTHING = ("", "-", "--", "N/A", "MULTI")

_PLACES = re.compile(r"[+-]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DATE = (
    r"(?:(?P<y>[0-9]{4})(?P<m>[0-9]{2})(?P<d>[0-9]{2})"
    r"|(?P<y2>[0-9]{4})-(?P<m2>[0-9]{2})-(?P<d2>[0-9]{2})"
    r"|(?P<a>[0-9]{1,2})/(?P<b>[0-9]{1,2})/(?P<y3>[0-9]{4}|[0-9]{2})"
    r"|(?P<d4>[0-9]{1,2})-(?P<m4>[A-Za-z]{3})-(?P<y4>[0-9]{4}|[0-9]{2}))"
)
_TIME = r"(?P<H>[0-9]{2}):?(?P<M>[0-9]{2}):?(?P<S>[0-9]{2})"
_ZONE = r" ?(?P<zone>Z|UTC|GMT|EST|EDT|[+-][0-9]{2}:?[0-9]{2})"
_MOMENT = re.compile(rf"{_DATE}(?:(?:[;T]|, ?| )?{_TIME}(?:{_ZONE})?)?")
_OFFSETS = {"Z": "+00:00", "UTC": "+00:00", "GMT": "+00:00", "EST": "-05:00", "EDT": "-04:00"}
_CENTURY = 69  # as strptime reads two digits: 69 is 1969, 68 is 2068
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_SLASHED = re.compile(r"([0-9]{1,2})/([0-9]{1,2})/[0-9]{2}")
_MONTHS_A_YEAR = 12
# Money of 18 digits twice over: a sum that would have to be rounded is an error instead.
_EXACT = Context(prec=80, traps=[Inexact, InvalidOperation])


def given(text: str | None) -> str | None:
    """A text, or None for IBKR's ways of saying nothing."""
    return None if text is None or text in NOTHING else text


def numbered(text: str | None) -> str | None:
    """The text of a number that something is known by; IBKR writes 0 where there is none."""
    return None if text == "0" else given(text)


def is_date(iso: str | None) -> bool:
    """Whether an ISO text has a day and no time."""
    return iso is not None and _DAY.fullmatch(iso) is not None


def number(text: str | None) -> str | None:
    """A number's text without the commas IBKR puts between thousands; None for nothing."""
    text = given(text)
    if text is not None and "," in text and _PLACES.fullmatch(text):
        return text.replace(",", "")
    return text


def decimal(text: str | None) -> Decimal | None:
    """The exact value of a number's text, or None where it has none that is finite."""
    plain = number(text)
    if plain is None:
        return None
    try:
        value = Decimal(plain.strip())
    except InvalidOperation:
        return None
    return value if value.is_finite() else None


def plain(value: Decimal) -> str:
    """A decimal in plain digits, for the rules to read."""
    return f"{value:f}"


def total(values: list[Decimal]) -> Decimal:
    """The exact sum.

    Raises:
        ValueError: it has more digits than any money has.
    """
    result = Decimal(0)
    try:
        for value in values:
            result = _EXACT.add(result, value)
    except (Inexact, InvalidOperation) as error:
        raise ValueError("the sum has more than 80 digits") from error
    return result


def day_order(text: str) -> bool | None:
    """Whether a date with slashes puts the day first (True), the month (False), or may be either."""
    found = _SLASHED.match(text)
    if not found:
        return None
    first, second = int(found[1]), int(found[2])
    if first > _MONTHS_A_YEAR:
        return True
    return False if second > _MONTHS_A_YEAR else None


def is_ambiguous(text: str) -> bool:
    """Whether a date with slashes means another day when day and month change places."""
    found = _SLASHED.match(text)
    return found is not None and day_order(text) is None and int(found[1]) != int(found[2])


@dataclass(frozen=True, slots=True)
class Clock:
    """How the times of one file are read: the zone, and which of 01/02/2026 is the day."""

    zone: ZoneInfo
    day_first: bool = False

    def iso(self, text: str | None) -> str | None:
        """ISO text of a moment: with an offset only where the file has one.

        A text that is no moment in any of IBKR's formats comes back as it is.
        """
        text = given(text)
        return None if text is None else _iso(text, self.day_first) or text

    def utc(self, text: str | None) -> str | None:
        """The moment in UTC as ISO text; None for nothing, a bare date, or an hour of no sure meaning.

        An hour that a change of clocks repeats or skips has none.
        """
        iso = self.iso(text)
        if iso is None or "T" not in iso:
            return None
        try:
            moment = datetime.fromisoformat(iso)
        except ValueError:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=self.zone)
            if moment.utcoffset() != moment.replace(fold=1).utcoffset():
                return None
        return moment.astimezone(UTC).isoformat()

    def date(self, text: str | None) -> str | None:
        """ISO text of a date, without a time; as it is where it is no date."""
        iso = self.iso(text)
        return iso[:10] if iso and _DAY.match(iso) else iso


@functools.lru_cache(maxsize=8192)
def _iso(text: str, day_first: bool) -> str | None:
    found = _MOMENT.fullmatch(text)
    if found is None:
        return None
    part = found.groupdict()
    if part["a"]:
        day, month = (part["a"], part["b"]) if day_first else (part["b"], part["a"])
        year = _year(part["y3"])
    elif part["m4"]:
        if part["m4"].lower() not in _MONTHS:
            return None
        day, year = part["d4"], _year(part["y4"])
        month = str(_MONTHS.index(part["m4"].lower()) + 1)
    else:
        year = part["y"] or part["y2"]
        month, day = part["m"] or part["m2"], part["d"] or part["d2"]
    date = f"{year}-{month:0>2}-{day:0>2}"
    if not part["H"]:
        return date
    zone = part["zone"] or ""
    zone = _OFFSETS.get(zone, zone)
    if zone and ":" not in zone:
        zone = f"{zone[:3]}:{zone[3:]}"
    return f"{date}T{part['H']}:{part['M']}:{part['S']}{zone}"


def _year(text: str) -> str:
    if len(text) > 2:  # noqa: PLR2004 - two digits or four
        return text
    return f"19{text}" if int(text) >= _CENTURY else f"20{text}"
