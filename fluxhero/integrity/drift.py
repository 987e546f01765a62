"""Drift: a day of trading that is unlike all days before it.

Each of the last completed days is held against the store's own history: median and spread (MAD) of
the days before it, on which there were trades. History is the ledger itself, so nothing is kept.
"""

import logging
import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pyarrow as pa

from fluxhero.engine import moment
from fluxhero.errors import first_line
from fluxhero.integrity import drift_rules as rules
from fluxhero.integrity.ledger import HINDRANCES, Ledger, open_ledger
from fluxhero.integrity.results import Result, errored, failed, passed
from fluxhero.integrity.rules import Rule
from fluxhero.integrity.scope import Scope
from fluxhero.ledger.rows import CLOSED_AT
from fluxhero.ledger.schema import TRADES
from fluxhero.wording import counted

logger = logging.getLogger(__name__)

HISTORY_DAYS = 200  # what lies further back says little about today
JUDGED_DAYS = 7  # an old outlier is not reported for ever
FEWEST_DAYS = 10  # of history, to say what is usual
LIMIT = 6.0  # robust standard deviations
_MAD_TO_DEVIATION = 1.4826  # of a normal distribution
_SMALLEST_SPREAD = 0.1  # of the median: a history that never varied says little about what may

RULES: tuple[Rule, ...] = (
    rules.TRADES_PER_DAY,
    rules.VOLUME,
    rules.RESULT,
    rules.HOLDING_TIME,
    rules.FEES,
)

_SIZE = "abs(exit_price::DOUBLE / nullif(entry_price, 0)::DOUBLE - 1)"
# Of a day's closed trades: column of the profile → SQL, over the ledger's columns and `_closed_at`.
_NUMBERS = {
    "volume": "sum(quantity::DOUBLE * entry_price::DOUBLE)",
    "mean_return": f"avg({_SIZE})",
    "median_return": f"median({_SIZE})",
    "win_ratio": "avg((realized_pnl > 0)::INT)",
    "fees_per_share": "sum(fees)::DOUBLE / nullif(sum(quantity) FILTER (fees IS NOT NULL), 0)::DOUBLE",
    "holding_seconds": f"median(epoch({CLOSED_AT} - entry_time))",
}
_PROFILE = pa.schema(
    [
        ("day", pa.date32()),
        ("mode", pa.string()),
        ("source", pa.string()),
        ("trades", pa.int64()),
        *((name, pa.float64()) for name in _NUMBERS),
    ]
)


@dataclass(frozen=True, slots=True)
class _Measure:
    """One number of a day that is judged.

    Attributes:
        rule: the rule that it is judged by.
        column: its name in the profile.
        unit: how it is written.
        ratio: whether it varies by factors, so that its logarithm is judged.
        steady: whether few trades a day say as much as many.
    """

    rule: Rule
    column: str
    unit: Callable[[float], str]
    ratio: bool = False
    steady: bool = False


def _number(value: float) -> str:
    return f"{value:,.6g}"


def _percent(value: float) -> str:
    return f"{100 * value:.3g} %"


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


_MEASURES = (
    _Measure(rules.TRADES_PER_DAY, "trades", _number),
    _Measure(rules.VOLUME, "volume", _number),
    _Measure(rules.RESULT, "median_return", _percent, ratio=True),
    _Measure(rules.HOLDING_TIME, "holding_seconds", _duration, ratio=True),
    _Measure(rules.FEES, "fees_per_share", _number, steady=True),
)


def measure(scope: Scope) -> pa.Table:
    """Profile the ledger: a row for each completed day (UTC), mode and source with closed trades.

    Of the last `HISTORY_DAYS`; batches of which every trade was closed before are not read. Returns
    are sizes, without their sign, in parts of the entry price.

    Raises:
        StoreLockedError: another process holds the hot store.
        IntegrityError: the store, a manifest or a file is damaged.
    """
    try:
        with open_ledger(scope) as ledger:
            return _profile(ledger)
    finally:
        scope.workspace.store.close()


def _profile(ledger: Ledger) -> pa.Table:
    end = datetime.combine(ledger.scope.now.astimezone(UTC).date(), time(), UTC)
    first = end - timedelta(days=HISTORY_DAYS)
    recent = [
        manifest
        for manifest in ledger.chain.of_table(TRADES.name)
        if manifest.file.last_closed_at >= first and manifest.file.first_closed_at < end
    ]
    trades = ledger.archived(TRADES.name, recent, hot_too=True)
    within = f"{CLOSED_AT} >= {moment(first)} AND {CLOSED_AT} < {moment(end)}"
    with ledger.scope.workspace.scanning(recent):
        sql = _profile_sql(f"({trades})", _NUMBERS, within)
        profile = ledger.connection.sql(sql).to_arrow_table()
    return profile.cast(_PROFILE)


def _profile_sql(trades: str, columns: Iterable[str], condition: str) -> str:
    numbers = "".join(f", {_NUMBERS[name]} AS {name}" for name in columns)
    return (
        f"SELECT {CLOSED_AT}::DATE AS day, mode, coalesce(source, '') AS source, count(*) AS trades{numbers} "
        f"FROM {trades} WHERE status = 'closed' AND {condition} GROUP BY 1, 2, 3 ORDER BY 2, 3, 1"
    )


def check_drift(scope: Scope) -> list[Result]:
    """Judge the last completed days, for each mode and source.

    A day without trades is not judged: nobody knows whether there should have been some. Today is not
    complete. With less than `FEWEST_DAYS` of history nothing can be unusual.

    Raises:
        StoreLockedError: another process holds the hot store.
    """
    try:
        profile = measure(scope)
    except HINDRANCES as error:
        logger.warning("drift cannot be told: %s", error)
        return [errored(rule, TRADES.name, first_line(error)) for rule in RULES]
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in profile.to_pylist():
        groups[f"{TRADES.name} ({row['mode']}, {row['source'] or 'no source'})"].append(row)
    if not groups:
        return [passed(rule, TRADES.name, checked=0) for rule in RULES]
    since = scope.now.astimezone(UTC).date() - timedelta(days=JUDGED_DAYS)
    return [
        _verdict(about, one, list(_judged(days, one, since)))
        for about, days in groups.items()
        for one in _MEASURES
    ]


@dataclass(frozen=True, slots=True)
class Judged:
    """A day's value against the days before it.

    Attributes:
        day: the day.
        value: of the day.
        median: of the days before it.
        mad: their median absolute deviation; of logarithms where factors are judged.
        days: how many there are.
        smallest: of the values before the days that are judged, for one bad day must not excuse the next.
        largest: the same.
        z: robust standard deviations from their median.
    """

    day: date
    value: float
    median: float
    mad: float
    days: int
    smallest: float
    largest: float
    z: float

    @property
    def unusual(self) -> bool:
        """Whether it is far from what was usual, and beyond everything there was."""
        beyond = not self.smallest <= self.value <= self.largest
        return beyond and abs(self.z) > LIMIT


def _judged(days: Sequence[dict[str, Any]], one: _Measure, since: date) -> Iterator[Judged]:
    """Judge the days from `since` on that have enough history."""
    known = [day for day in days if day[one.column] is not None and math.isfinite(day[one.column])]
    if one.ratio:
        known = [day for day in known if day[one.column] > 0]
    for place, day in enumerate(known):
        if day["day"] >= since and place >= FEWEST_DAYS:
            yield _judge(day, known[:place], one, since)


def _judge(
    day: dict[str, Any], history: Sequence[dict[str, Any]], one: _Measure, since: date
) -> Judged:
    values = [earlier[one.column] for earlier in history]
    scaled = [math.log(value) for value in values] if one.ratio else values
    middle = statistics.median(scaled)
    mad = statistics.median(abs(value - middle) for value in scaled)
    spread = max(_MAD_TO_DEVIATION * mad, _floor(one, middle, history))
    value = day[one.column]
    settled = [earlier[one.column] for earlier in history if earlier["day"] < since] or values
    z = ((math.log(value) if one.ratio else value) - middle) / spread
    return Judged(
        day=day["day"],
        value=value,
        median=math.exp(middle) if one.ratio else middle,
        mad=mad,
        days=len(values),
        smallest=min(settled),
        largest=max(settled),
        z=z,
    )


def _floor(one: _Measure, middle: float, history: Sequence[dict[str, Any]]) -> float:
    """The least spread that is assumed: few trades a day vary by chance alone, the more the fewer they are."""
    trades = statistics.median(earlier["trades"] for earlier in history)
    share = _SMALLEST_SPREAD if one.steady else max(_SMALLEST_SPREAD, trades**-0.5)
    return share if one.ratio else max(share * abs(middle), 1e-12)


def _verdict(about: str, one: _Measure, judged: Sequence[Judged]) -> Result:
    unusual = [day for day in judged if day.unusual]
    if not unusual:
        return passed(one.rule, about, len(judged))
    worst = max(unusual, key=lambda day: abs(day.z))
    return failed(
        one.rule,
        about,
        f"{worst.day}: {one.unit(worst.value)}, where the median of {counted(worst.days, 'day')} before is "
        f"{one.unit(worst.median)} and the most extreme {one.unit(_nearest(worst))} (MAD "
        f"{f'{worst.mad:.3g} of logarithms' if one.ratio else one.unit(worst.mad)}, z = {worst.z:+.1f})"
        + (f"; {counted(len(unusual), 'day')} in all" if len(unusual) > 1 else ""),
        count=len(unusual),
        checked=len(judged),
        keys=tuple(str(day.day) for day in unusual),
        sample=tuple(
            {
                "day": str(day.day),
                "value": day.value,
                "median": day.median,
                "mad": day.mad,
                "days": day.days,
                "smallest": day.smallest,
                "largest": day.largest,
                "z": round(day.z, 2),
            }
            for day in unusual
        ),
        sql=_profile_sql(
            f"(SELECT *, {TRADES.closed_at_sql} AS {CLOSED_AT} FROM {TRADES.name})",
            [name for name in _NUMBERS if name == one.column],
            f"{CLOSED_AT} < DATE '{worst.day + timedelta(days=1)}'",
        ),
    )


def _nearest(day: Judged) -> float:
    return day.largest if day.value > day.largest else day.smallest
