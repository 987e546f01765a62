"""What holds for every price bar of the cache, whoever wrote it.

The relation that is checked has the bars as their files hold them, and beside them what a bar is to be
held against: the file it is in, its place there, the bar before it, the session it belongs to (see
`fluxhero.integrity.bars`). Times are UTC without a zone, as in the files.
"""

from fluxhero.integrity.rules import QueryRule, RowRule, Rule, Severity
from fluxhero.integrity.suite import Suite

SESSIONS = "bar_sessions"  # (calendar, day): every session of the calendars that bars follow
COLUMNS = {
    "name": "VARCHAR",  # of the file, without its ending
    "place": "BIGINT",  # in the file
    "timestamp": "TIMESTAMP",
    "open": "DOUBLE",
    "high": "DOUBLE",
    "low": "DOUBLE",
    "close": "DOUBLE",
    "volume": "DOUBLE",
    "daily": "BOOLEAN",
    "adjustment": "VARCHAR",
    "calendar": "VARCHAR",  # NULL where the calendar does not reach so far
    "day": "DATE",
    "opens": "TIMESTAMP",  # NULL on a day without a session
    "closes": "TIMESTAMP",
    "ends": "TIMESTAMP",
    "written_at": "TIMESTAMP",
    "previous_time": "TIMESTAMP",  # of the bar before it in the file
    "previous_close": "DOUBLE",  # of the bar before it in time
    "previous_volume": "DOUBLE",
}
# Rules that can be told from what the files themselves hold.
OF_FILES = (
    "bars.finite",
    "bars.positive",
    "bars.high-not-below-low",
    "bars.inside-range",
    "bars.volume",
)

_AGAIN = "Fetch the bars again with `fluxhero refresh SYMBOL --start DAY`, with a day before the first bad one."
_FINITE = " AND ".join(f"isfinite({name})" for name in ("open", "high", "low", "close"))
_SOUND = f"{_FINITE} AND least(open, high, low, close) > 0"
_RATIOS = "[1.5, 2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 50]"
# How near to a plain ratio: AAPL fell to 1/1.898 overnight on 2000-09-29 without any split.
_NEAR, _NEAR_SMALL = 0.04, 0.015
_CALM = (
    3  # times the volume to be expected: a crash or a jump of this size is traded more than that
)


def _splits(ratio: str, volume: str) -> str:
    """SQL that is true where a price ratio is that of a split, and the day was an ordinary one."""
    near = f"abs({ratio} / n - 1) < CASE WHEN n < 2 THEN {_NEAR_SMALL} ELSE {_NEAR} END"
    calm = f"(coalesce(previous_volume, 0) <= 0 OR volume <= {_CALM} * {volume})"
    return f"len(list_filter({_RATIOS}, lambda n: {near} AND {calm})) > 0"


_JUMP = (
    f"daily AND adjustment <> 'raw' AND {_SOUND} AND previous_close > 0 AND isfinite(previous_close) AND ("
    f"{_splits('previous_close / open', 'previous_volume * n')} OR "
    f"{_splits('open / previous_close', 'previous_volume')})"
)


def bars() -> Suite:
    """The suite."""
    return Suite(
        table="bars",
        version=1,
        key="name || ' ' || strftime(timestamp, '%Y-%m-%dT%H:%M:%S')",
        columns=COLUMNS,
        rules=(*_prices(), *_order(), *_calendar(), _split()),
    )


def _prices() -> tuple[RowRule, ...]:
    return (
        RowRule(
            "bars.finite",
            Severity.ERROR,
            says="Every price and volume of a bar is a number: there, not infinite, not NaN.",
            means="The provider sent a hole, or a program computed one. An indicator over the bar is NaN from there "
            "on, and a strategy that compares with NaN silently never trades.",
            remedy=_AGAIN,
            bad=f"NOT coalesce({_FINITE} AND isfinite(volume), false)",
        ),
        RowRule(
            "bars.positive",
            Severity.ERROR,
            says="Every price of a bar is above zero.",
            means="A zero or negative price is a placeholder for a missing one. Returns computed from it are "
            "infinite or of the wrong sign.",
            remedy=_AGAIN,
            bad=f"{_FINITE} AND least(open, high, low, close) <= 0",
        ),
        RowRule(
            "bars.high-not-below-low",
            Severity.ERROR,
            says="A bar's high is not below its low.",
            means="Columns were exchanged or a value is damaged. Ranges, stops and ATR computed from the bar are "
            "of the wrong sign.",
            remedy=_AGAIN,
            bad=f"{_SOUND} AND high < low",
        ),
        RowRule(
            "bars.inside-range",
            Severity.ERROR,
            says="A bar's open and close lie between its low and its high.",
            means="The bar contradicts itself: parts of it come from different sources, or from prices adjusted "
            "differently. A backtest fills orders at prices that nobody could have had.",
            remedy=_AGAIN,
            bad=f"{_SOUND} AND high >= low AND (greatest(open, close) > high OR least(open, close) < low)",
        ),
        RowRule(
            "bars.volume",
            Severity.ERROR,
            says="A bar's volume is not negative.",
            means="An overflow or an exchanged column. Volume filters and position limits computed from it fail.",
            remedy=_AGAIN,
            bad="isfinite(volume) AND volume < 0",
        ),
    )


def _order() -> tuple[RowRule | QueryRule, ...]:
    return (
        QueryRule(
            "bars.unique",
            Severity.ERROR,
            says="A file has each bar once.",
            means="Two fetches were appended instead of merged. Every mean over the bars counts the day twice.",
            remedy="`fluxhero refresh SYMBOL` merges the file and keeps, of bars with the same time, the last one.",
            rows="SELECT name || ' ' || strftime(timestamp, '%Y-%m-%dT%H:%M:%S') AS key, name, timestamp, "
            "count(*) AS times FROM {table} GROUP BY name, timestamp HAVING count(*) > 1",
        ),
        RowRule(
            "bars.in-order",
            Severity.ERROR,
            says="Bars follow one another in time.",
            means="A program wrote the file unsorted. A bot that takes the last row for the newest bar, as most do, "
            "trades on an old price.",
            remedy="`fluxhero refresh SYMBOL` writes the file anew, in order.",
            bad="timestamp < previous_time",
        ),
    )


def _calendar() -> tuple[RowRule | QueryRule, ...]:
    return (
        QueryRule(
            "bars.missing-sessions",
            Severity.ERROR,
            says="Between its first and its last bar a daily file has every session of the exchange.",
            means="Days are missing: a fetch was cut short, or trading in the symbol was halted for whole days. "
            "Returns over the gap look like one day's, and a strategy's windows reach further back than they say.",
            remedy=f"{_AGAIN} If the symbol was not traded on those days, waive the finding.",
            rows="SELECT had.name || ' ' || due.day AS key, had.name, due.day FROM (SELECT name, calendar, "
            "min(day) AS first, max(day) AS last FROM {table} WHERE daily AND calendar IS NOT NULL "
            f"GROUP BY name, calendar) AS had JOIN {SESSIONS} AS due ON due.calendar = had.calendar "
            "AND due.day BETWEEN had.first AND had.last ANTI JOIN {table} AS bar "
            "ON bar.name = had.name AND bar.day = due.day",
        ),
        RowRule(
            "bars.extra-sessions",
            Severity.ERROR,
            says="A daily bar belongs to a day on which the exchange traded.",
            means="A bar of a holiday or a weekend: made up by filling gaps, of another market, or moved by a wrong "
            "time zone. It is a day of zero return that never was.",
            remedy="Move the file and its `.json` away, run `fluxhero refresh SYMBOL`. If many bars are meant, "
            "FLUXHERO_EXCHANGE names the wrong exchange, or the times are of another zone.",
            bad="daily AND calendar IS NOT NULL AND closes IS NULL",
        ),
        RowRule(
            "bars.in-hours",
            Severity.WARNING,
            says="A bar shorter than a day lies in the exchange's regular hours.",
            means="Bars from before the open, after the close, or a holiday; or times of another zone written as if "
            "they were UTC. They trade thinly, and a backtest fills orders there that a broker would not.",
            remedy="Move the file and its `.json` away and run `fluxhero refresh SYMBOL --timeframe T`, which keeps "
            "regular hours only. If all bars are off by some hours, correct the program that writes their times.",
            bad="NOT daily AND calendar IS NOT NULL AND NOT coalesce(timestamp < closes AND ends > opens, false)",
        ),
        RowRule(
            "bars.complete",
            Severity.ERROR,
            says="A bar was stored after it was over.",
            means="The bar was still forming, or lies in the future: its close is a price of some moment in the day, "
            "and its volume a part. It does not correct itself.",
            remedy="Run `fluxhero refresh SYMBOL` after the close: it fetches again a last bar that was stored too "
            "early, and stores none before it is over. An older one comes again with `--start DAY`.",
            bad="ends > written_at",
        ),
    )


def _split() -> RowRule:
    return RowRule(
        "bars.unadjusted-split",
        Severity.ERROR,
        says="No daily price jumps overnight by the ratio of a share split, on ordinary volume.",
        means="Prices before and after a split are of different sizes in one file: a loss or gain of half the price "
        "and more that nobody made. Indicators, stops and backtests across that day are worthless. A file "
        "whose prices are declared raw is not held against this.",
        remedy="`fluxhero refresh SYMBOL --start DAY`, with the day of the first bar, where prices are adjusted for "
        "splits. Else move the file and its `.json` away and run `fluxhero refresh SYMBOL`; or, if the prices "
        "are meant to be as they were traded, add `--adjustment raw`.",
        bad=_JUMP,
    )


TYPES = Rule(
    "bars.types",
    Severity.ERROR,
    says="A file of bars has a time and five numbers for each, in types that every reader takes alike.",
    means="A program rewrote the file with other types: whole numbers for prices (cents are gone), a column of "
    "nothing, times as text, or in a zone that readers take for UTC. What reads it is wrong or fails.",
    remedy="Move the file and its `.json` away and run `fluxhero refresh SYMBOL`; if a bot writes it, correct the bot.",
)
FRESH = Rule(
    "bars.fresh",
    Severity.ERROR,
    says="Bars of a symbol with an open trade or position are not older than 24 hours of trading: a session that "
    "closed more than a day ago is in the file once a later one has opened.",
    means="The refresh has failed or does not run, and the bot's next decision about an open trade is made on old "
    "prices. Files of symbols that are not traded now may be old.",
    remedy="Run `fluxhero refresh`, and look at the runs of its deployment `before-open`.",
)
TRADE_PRICE = Rule(
    "bars.trade-price-inside",
    Severity.ERROR,
    says="A trade's entry and exit price lie within that day's bar, give or take half a percent.",
    means="The trade has a price that the market did not have that day: a slip of digits, another symbol's fill, a "
    "wrong day or time zone; or the bar is wrong. Where the bars are not known to be raw, a trade is let pass whose "
    "prices are all off by the same ratio of a split.",
    remedy="Compare with the broker's statement and correct the trade where it came from, or fetch the bar again. A "
    "fill outside regular hours may well lie outside the bar: waive it.",
)
