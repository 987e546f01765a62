"""Running a suite on a relation: first its columns, then its rules, then the rows that break one.

Great Expectations counts, in one pass for all row rules. Only where something breaks a rule are keys and
a few rows fetched. Rules refer to the moment of the check as `getvariable('now')`, which the
connection has to have (see `tell_time`), so that it is no part of a suite.
"""

import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import duckdb

from fluxhero.engine import identifier, literal, moment, one_row
from fluxhero.errors import first_line
from fluxhero.integrity.results import MOST_KEYS, MOST_SAMPLED, Result, errored, failed, passed
from fluxhero.integrity.rules import QueryRule, RowRule
from fluxhero.integrity.suite import Suite, query_over
from fluxhero.wording import counted

_VARIABLE = re.compile(r"getvariable\('\w+'\)")
_SHORT_NAMES = {"TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ"}  # as suites write them
_READY_FOR_JSON = ("BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT")


def tell_time(connection: duckdb.DuckDBPyConnection, now: datetime) -> None:
    """Let the rules that are checked on this connection know what time it is."""
    connection.execute(f"SET VARIABLE now = {moment(now)}")


def run_suite(
    connection: duckdb.DuckDBPyConnection,
    suite: Suite,
    relation: str,
    about: str,
    *,
    shown: str | None = None,
    context_taken: bool = False,
) -> list[Result]:
    """Check every rule of a suite on a relation.

    Args:
        connection: a DuckDB that has the relation and knows the time.
        suite: the rules.
        relation: SQL of what is checked, as it stands after FROM: a view, or a query in brackets.
        about: what results call it.
        shown: the same relation as a reader can ask for it, for the SQL in results.
        context_taken: whether the suite's context was taken already, from more than what is checked.

    Returns:
        One result a rule, that of the columns first. Where the columns are not as declared no other
        rule is checked.
    """
    try:
        found = columns_of(connection, relation)
        if not context_taken:
            take_context(connection, suite, relation)
    except duckdb.Error as error:
        return unchecked(suite, about, first_line(error))
    faults = column_faults(suite.columns, found)
    if faults:
        wrong = failed(
            suite.schema_rule, about, "; ".join(faults), count=len(faults), checked=len(found)
        )
        why = f"the columns are not as declared: {'; '.join(faults)}"
        return [wrong, *(errored(rule, about, why) for rule in suite.rules)]
    with _great_expectations():
        from fluxhero.integrity.gx_rules import ask
    verdicts = ask(connection, relation, suite.rules)
    results = [passed(suite.schema_rule, about, len(found))]
    for rule, verdict in zip(suite.rules, verdicts, strict=True):
        if verdict.error:
            results.append(errored(rule, about, verdict.error))
        elif not verdict.count:
            results.append(passed(rule, about, verdict.checked))
        else:
            results.append(
                _breach(
                    connection,
                    suite,
                    rule,
                    relation,
                    about,
                    (verdict.count, verdict.checked),
                    shown or relation,
                )
            )
    return results


def take_context(connection: duckdb.DuckDBPyConnection, suite: Suite, whole: str) -> None:
    """Set the variables that the suite's rules take from the whole of what is checked.

    Raises:
        duckdb.Error: it cannot be read.
    """
    for name, query in suite.context.items():
        connection.execute(f"SET VARIABLE {name} = ({query.replace('{table}', whole)})")


def columns_of(connection: duckdb.DuckDBPyConnection, relation: str) -> dict[str, str]:
    """Name and DuckDB type of a relation's columns."""
    rows = connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()
    return {str(row[0]): _SHORT_NAMES.get(str(row[1]), str(row[1])) for row in rows}


def unchecked(suite: Suite, about: str, why: str) -> list[Result]:
    """Say of every rule that it could not be checked."""
    return [errored(rule, about, why) for rule in suite.every_rule]


def column_faults(due: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """What is wrong with columns, each given as name → type; there may be others than are due."""
    faults = [f"column {name} is missing" for name in due if name not in found]
    faults += [
        f"column {name} is {found[name]}, not {kind}"
        for name, kind in due.items()
        if name in found and found[name] != kind
    ]
    return faults


@contextmanager
def _great_expectations() -> Iterator[None]:
    """Around the import: the library warns of its own past, logs its doings and takes over warnings."""
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)
    showing = warnings.showwarning
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
        if warnings.showwarning is not showing:
            logging.captureWarnings(capture=False)


def _breach(
    connection: duckdb.DuckDBPyConnection,
    suite: Suite,
    rule: RowRule | QueryRule,
    relation: str,
    about: str,
    counts: tuple[int, int],
    shown: str,
) -> Result:
    """The result of a rule that rows break, with the keys of the first and a few of the rows."""
    count, checked = counts
    try:
        rows = _first_rows(connection, breaking_sql(suite, rule, relation))
    except duckdb.Error as error:
        rows, listed = [], f"; they could not be listed: {first_line(error)}"
    else:
        listed = ": " + ", ".join(row["key"] or "(no key)" for row in rows[:3])
        listed += ", …" if count > len(rows[:3]) else ""
    sql = _without_variables(connection, breaking_sql(suite, rule, shown))
    return failed(
        rule,
        about,
        f"{counted(count, 'row')} of {checked:,}{listed}",
        count=count,
        checked=checked,
        keys=tuple(dict.fromkeys(row["key"] for row in rows if row["key"])),
        sample=tuple(rows[:MOST_SAMPLED]),
        sql=sql,
    )


def breaking_sql(suite: Suite, rule: RowRule | QueryRule, relation: str) -> str:
    """SELECT what breaks a rule, with its `key`."""
    if isinstance(rule, QueryRule):
        return query_over(rule, relation)
    return f"SELECT {suite.key} AS key, * FROM {relation} WHERE {rule.bad}"


def _first_rows(connection: duckdb.DuckDBPyConnection, sql: str) -> list[dict[str, Any]]:
    """The first rows by key, ready for JSON: numbers that are not whole and times as text."""
    selected = ", ".join(
        _ready(name, kind) for name, kind in columns_of(connection, f"({sql})").items()
    )
    result = connection.execute(f"SELECT {selected} FROM ({sql}) ORDER BY key LIMIT {MOST_KEYS}")
    names = [column[0] for column in result.description or ()]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def _ready(name: str, kind: str) -> str:
    column = identifier(name)
    if kind in _READY_FOR_JSON and name != "key":
        return column
    text = f"{column}::VARCHAR"
    if kind.startswith("TIMESTAMP"):
        text = f"replace({text}, ' ', 'T')"
    return f"{text} AS {column}"


def _without_variables(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    """The same SQL with the values of its variables, so that it can be run elsewhere."""

    def value(variable: re.Match[str]) -> str:
        found = one_row(
            connection, f"SELECT typeof({variable[0]}), {variable[0]}::VARCHAR, {variable[0]}"
        )
        kind, told, raw = found
        if raw is None:
            return "NULL"
        if isinstance(raw, list):
            return f"[{', '.join(literal(str(each)) for each in raw)}]"
        return f"{literal(told)}::{kind}"

    return _VARIABLE.sub(value, sql)
