"""What the suites of the ledger's tables have in common: rules that every table has in its own terms.

`ORIGIN` are columns that a relation has beside the ledger's (see `written`).
"""

from collections.abc import Iterable, Mapping, Sequence

from fluxhero.engine import identifier, literal
from fluxhero.integrity.rules import QueryRule, RowRule, Severity
from fluxhero.ledger.schema import Kind, Table

COMPARE = "Compare the row with the broker's statement. "
CORRECT = (
    "Correct the row where it came from: in the bot's own database (an archived trade first comes back with "
    "`fluxhero restore --trade ID`), or by `fluxhero ingest` of the corrected row, a trade's with a newer "
    "`updated_at`."
)
LARGEST_PRICE = 10_000_000
LARGEST_MOVE = 100  # times, between two prices of one trade
EARLIEST = "TIMESTAMPTZ '1990-01-01 00:00:00+00'"
LATEST = "(getvariable('now') + INTERVAL 5 MINUTE)"  # clocks differ a little
BATCH = "_batch_id"
NOT_A_NUMBER, NOT_A_TIME, UNCLEAR_TIME = "_not_a_number", "_not_a_time", "_unclear_time"
_NOTHING: Mapping[str, str] = {}
ORIGIN: Mapping[str, str] = dict.fromkeys((NOT_A_NUMBER, NOT_A_TIME, UNCLEAR_TIME), "BOOLEAN")


def columns_of(table: Table, beside: Mapping[str, str] = _NOTHING) -> dict[str, str]:
    """Name and DuckDB type of the columns that a suite presupposes."""
    ledger = {column.name: column.kind.value for column in table.columns}
    return {**ledger, BATCH: "VARCHAR", **beside}


def any_of(conditions: Iterable[str]) -> str:
    """SQL that is true where one of the conditions is."""
    return " OR ".join(f"({condition})" for condition in conditions)


def of_kind(table: Table, kind: Kind) -> list[str]:
    """A table's columns of one kind, quoted."""
    return [identifier(column.name) for column in table.columns if column.kind is kind]


def required(table: Table, *, unread: bool = False) -> RowRule:
    """Every value that must be there is; `unread`: what could not be read is another rule's."""
    named = [column for column in table.columns if column.required]
    listed = ", ".join(column.name for column in named)
    conditions = []
    for column in named:
        missing = f"{identifier(column.name)} IS NULL"
        if column.kind is Kind.TEXT:
            missing = f"trim(coalesce({identifier(column.name)}, '')) = ''"
        elif unread:
            missing += f" AND NOT {NOT_A_TIME if column.kind is Kind.TIME else NOT_A_NUMBER}"
        conditions.append(missing)
    return RowRule(
        f"{table.name}.required",
        Severity.ERROR,
        says=f"Every row has {listed}.",
        means="A value without which the row means nothing is missing or blank. Sums, counts and exposure leave "
        "the row out or put it in the wrong place.",
        remedy=COMPARE + CORRECT,
        bad=any_of(conditions),
    )


def one_of(table: Table, name: str, means: str) -> RowRule:
    """A column holds one of the values that it knows; a missing one is another rule's."""
    allowed = next(column.allowed for column in table.columns if column.name == name)
    listed = ", ".join(map(literal, allowed))
    return RowRule(
        f"{table.name}.{name}",
        Severity.ERROR,
        says=f"The {name} is {', '.join(allowed[:-1])} or {allowed[-1]}.",
        means=means,
        remedy=COMPARE + CORRECT,
        bad=f"trim({identifier(name)}) <> '' AND {identifier(name)} NOT IN ({listed})",
    )


def unique(table: Table, *, by_batch: bool = False) -> QueryRule:
    """No two rows have one key; keys are compared only where their hashes are equal.

    `by_batch`: the same key in two batches is a matter of the archive's history.
    """
    names = [identifier(name) for name in table.key]
    key = f"concat_ws(' ', {', '.join(names)})" if len(names) > 1 else names[0]
    group = ", ".join([*names, *([BATCH] if by_batch else [])])
    likely = f"SELECT hash({group}) FROM {{table}} GROUP BY 1 HAVING count(*) > 1"
    return QueryRule(
        f"{table.name}.unique-key",
        Severity.CRITICAL,
        says=f"No two rows have the same {' and '.join(table.key)}.",
        means="One thing is written down twice, so that it counts twice in every sum, or two things share a name "
        "and one of them will be lost when the other is written. A program that wrote around the ledger, or a "
        "file that was copied together by hand.",
        remedy="List both rows with the SQL beside the finding, see which one the broker knows, and remove the other "
        "at its source. An archive file that holds a row twice is to be restored from a backup or from "
        "its mirror: `fluxhero check --repair`.",
        rows=f"SELECT {key} AS key, count(*) AS times FROM {{table}} WHERE hash({group}) IN ({likely}) "
        f"GROUP BY {group} HAVING count(*) > 1",
    )


def not_in_future(table: Table) -> RowRule:
    """No time lies ahead."""
    times = of_kind(table, Kind.TIME)
    return RowRule(
        f"{table.name}.not-in-future",
        Severity.ERROR,
        says="No time is in the future.",
        means="A clock was wrong, a time was read in another time zone than it was written in, or day and month "
        "were taken for one another. The row is dated wrong: it counts in the wrong day and month, and a "
        "finished one is archived too late or never.",
        remedy="See whether all such rows are off by the same hours: then the time zone is wrong, which "
        "`fluxhero ingest --timezone ZONE` or FLUXHERO_SOURCE_TIMEZONE says. " + CORRECT,
        bad=any_of(f"{name} > {LATEST}" for name in times),
    )


def sane_times(table: Table) -> RowRule:
    """No time is older than electronic trading."""
    times = of_kind(table, Kind.TIME)
    return RowRule(
        f"{table.name}.sane-times",
        Severity.ERROR,
        says="No time is before 1990.",
        means="A time that was never set (1970-01-01, 0001-01-01), or seconds taken for milliseconds. The row is "
        "dated wrong and is archived into a month that nobody looks at.",
        remedy=COMPARE + CORRECT,
        bad=any_of(f"{name} < {EARLIEST}" for name in times),
    )


def unclear_time(table: Table) -> RowRule:
    """No time was written that a clock showed twice or never."""
    return RowRule(
        f"{table.name}.dst-doubled-hour",
        Severity.WARNING,
        says="No time without an offset lies in the hour that a change of clocks repeats or skips.",
        means="The time was written without an offset, in an hour that happened twice (autumn) or not at all (spring). "
        "It was read as the later one, so that it may be an hour late: durations and the order of events around "
        "it are not certain.",
        remedy="Let the source write times with an offset or in UTC. " + COMPARE + CORRECT,
        bad=UNCLEAR_TIME,
    )


def readable_times(table: Table) -> RowRule:
    """Every time that was written can be read."""
    return RowRule(
        f"{table.name}.readable-times",
        Severity.ERROR,
        says="Every time is an ISO date and time.",
        means="The source holds something that is no time. The ledger has none for the row: a finished trade is then "
        "never archived, and the row is missing from every day and month.",
        remedy=COMPARE + CORRECT,
        bad=NOT_A_TIME,
    )


def fees_not_negative(table: Table) -> RowRule:
    """Fees are a cost."""
    return RowRule(
        f"{table.name}.fees-not-negative",
        Severity.WARNING,
        says="Fees are not negative.",
        means="Fees are what was paid, as a positive amount. A negative one is added to the result instead of "
        "taken from it, unless the broker did pay a rebate.",
        remedy="If the broker paid a rebate, waive the finding (`fluxhero waiver add`). "
        + COMPARE
        + CORRECT,
        bad="fees < 0",
    )


def positive_prices(table: Table, names: Sequence[str], *, or_zero: Sequence[str] = ()) -> RowRule:
    """Prices are above zero; some may be zero."""
    conditions = [f"{name} <= 0" for name in names] + [f"{name} < 0" for name in or_zero]
    return RowRule(
        f"{table.name}.positive-prices",
        Severity.WARNING,
        says=f"{_listed(names)} above zero, and no other price is below.",
        means="Shares and coins have no such price: a sign was lost or a price never filled in, and every result made "
        "from it is wrong. Only futures and spreads are ever quoted below zero.",
        remedy="For a future or a spread waive the finding (`fluxhero waiver add`). "
        + COMPARE
        + CORRECT,
        bad=any_of(conditions),
    )


def sane_prices(table: Table, names: Sequence[str], moved: tuple[str, str] | None) -> RowRule:
    """No price is beyond reason, nor is a move between two of them."""
    conditions = [f"abs({name}) > {LARGEST_PRICE}" for name in names]
    says = f"No price is above {LARGEST_PRICE:,}"
    if moved:
        before, after = moved
        conditions.append(
            f"{before} > 0 AND {after} > 0 AND "
            f"({after} > {before} * {LARGEST_MOVE} OR {before} > {after} * {LARGEST_MOVE})"
        )
        says += f", and {after} is within {LARGEST_MOVE} times {before}"
    return RowRule(
        f"{table.name}.sane-prices",
        Severity.WARNING,
        says=f"{says}.",
        means="A decimal point was lost, cents were taken for dollars, or the share was split in between and one of "
        "the prices was not adjusted.",
        remedy="Look the price up for that day. If it is true, waive the finding (`fluxhero waiver add`). "
        + CORRECT,
        bad=any_of(conditions),
    )


def _listed(names: Sequence[str]) -> str:
    return f"The {' and the '.join(names)} {'is' if len(names) == 1 else 'are'}".replace("_", " ")


def told_by(
    source: Sequence[str], condition: str, among: str = "true", *, at_least: int = 1
) -> str:
    """SQL of the sources of which at least half of the rows meet a condition, as a list.

    What no row of a source has, the source does not record; its lack is no fault.

    Args:
        source: columns that name a source.
        condition: SQL of a row.
        among: SQL of the rows that count.
        at_least: so many of a source's rows have to count before they make a habit.
    """
    names = ", ".join(source)
    return (
        f"SELECT list({source_sql(source)}) FROM (SELECT {names} FROM {{table}} WHERE {among} "
        f"GROUP BY {names} HAVING count(*) >= {at_least} AND 2 * count_if({condition}) >= count(*))"
    )


def is_told(name: str, source: Sequence[str]) -> str:
    """SQL condition that a row's source is one of those."""
    known = f"getvariable({literal(name)})::VARCHAR[]"
    return f"coalesce(list_contains({known}, {source_sql(source)}), false)"


def source_sql(names: Sequence[str]) -> str:
    """SQL that names where a row comes from."""
    return " || '/' || ".join(f"coalesce({name}, '')" for name in names)
