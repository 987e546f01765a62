"""Rows that break a rule, copied aside with the reason and where they were. Nothing is taken away.

One Parquet file for each table and run that found any, in `quarantine/rows` of the data folder. A row is
copied once, until its content or the rules it breaks are others (or a DuckDB release hashes otherwise).
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from fluxhero.engine import identifier, literal, moment
from fluxhero.errors import first_line
from fluxhero.integrity.results import Outcome, Result
from fluxhero.integrity.rules import QueryRule, RowRule
from fluxhero.integrity.scope import Scope
from fluxhero.integrity.suite import Suite, query_over
from fluxhero.integrity.suites.parts import BATCH
from fluxhero.recorded import write_recorded
from fluxhero.wording import counted

logger = logging.getLogger(__name__)

MOST_ROWS = 20_000  # of one table that one run copies; the next run copies the next
HOT = "hot"
Broken = dict[str, tuple[RowRule | QueryRule, str]]  # name → the rule, and its condition of a row


def quarantine_folder(data_dir: Path) -> Path:
    """Where the copies are."""
    return data_dir / "quarantine" / "rows"


def broken_rules(suite: Suite, results: Sequence[Result], relation: str) -> Broken:
    """The rules that rows of a relation were found to break, each with the condition of such a row."""
    failed = {result.rule.name for result in results if result.outcome is Outcome.FAILED}
    return {
        rule.name: (rule, _condition(suite, rule, relation))
        for rule in suite.rules
        if rule.name in failed
    }


def _condition(suite: Suite, rule: RowRule | QueryRule, relation: str) -> str:
    if isinstance(rule, RowRule):
        return f"({rule.bad})"
    return f"({suite.key} IN (SELECT key FROM ({query_over(rule, relation)})))"


def breaks_any(broken: Broken) -> str:
    """SQL condition of the rows that break one of these rules."""
    return " OR ".join(condition for _, condition in broken.values())


def bad_rows(
    connection: duckdb.DuckDBPyConnection,
    scope: Scope,
    suite: Suite,
    broken: Broken,
    relation: str,
) -> pa.Table | None:
    """List the rows that break one of these rules and are not in quarantine yet; None if none does."""
    if not broken:
        return None
    rules = ", ".join(
        f"CASE WHEN {condition} THEN {literal(name)} END" for name, (_, condition) in broken.items()
    )
    said = ", ".join(f"{literal(name)}: {literal(rule.says)}" for name, (rule, _) in broken.items())
    names = [name for name in suite.columns if not name.startswith("_")]
    values = ", ".join(map(identifier, names))
    # As text, for JSON knows no decimals.
    texts = ", ".join(f"{literal(name)}, {identifier(name)}::VARCHAR" for name in names)
    content = f"md5(concat_ws(' ', {literal(suite.table)}, key_, rules_, hash({values})))"
    return connection.sql(
        f"""
        WITH broken AS (
            SELECT *, {suite.key} AS key_, coalesce(nullif({BATCH}, ''), {literal(HOT)}) AS place_,
                list_filter([{rules}], lambda name: name IS NOT NULL) AS rules_
            FROM {relation} WHERE {breaks_any(broken)}
        ), chosen AS (
            SELECT *, {content} AS content FROM broken {_not_known(connection, scope, content)}
            ORDER BY key_, place_ LIMIT {MOST_ROWS}
        )
        SELECT content, {literal(suite.table)} AS table_name, key_ AS key, place_ AS place,
            rules_ AS rules,
            array_to_string(list_transform(rules_, lambda name: MAP {{{said}}}[name]), ' ') AS reason,
            json_object({texts})::VARCHAR AS row, {moment(scope.now)} AS found_at
        FROM chosen ORDER BY key_, place_
        """
    ).to_arrow_table()


def _not_known(connection: duckdb.DuckDBPyConnection, scope: Scope, content: str) -> str:
    """SQL that leaves out what an earlier run copied; all is new where its files cannot be read."""
    files = sorted(quarantine_folder(scope.data_dir).glob("*.parquet"))
    if not files:
        return ""
    listed = ", ".join(literal(str(path)) for path in files)
    known = f"(SELECT content FROM read_parquet([{listed}]))"
    try:
        connection.execute(f"SELECT count(*) FROM {known}").fetchall()
    except duckdb.Error as error:
        logger.warning("rows are copied into quarantine again: %s", first_line(error))
        return ""
    return f"ANTI JOIN {known} AS known ON known.content = {content}"


def quarantine_rows(
    scope: Scope, run_id: str, table: str, found: Sequence[pa.Table | None]
) -> Path | None:
    """Write what `bad_rows` listed in the places of a table; None if there is nothing new.

    Raises:
        StorageIOError: it could not be written.
    """
    rows = pa.concat_tables([each for each in found if each is not None] or [pa.table({})])
    if not rows.num_rows:
        return None
    path = quarantine_folder(scope.data_dir) / f"{run_id}-{table}.parquet"
    run = pa.array([run_id] * rows.num_rows, pa.string())
    write_recorded(path, rows.append_column("run", run), scope.now)
    most = any(each is not None and each.num_rows == MOST_ROWS for each in found)
    logger.warning(
        "%s of %s copied to %s%s",
        counted(rows.num_rows, "new faulty row"),
        table,
        path,
        f"; a run copies at most {MOST_ROWS:,}, the next one copies the next" if most else "",
    )
    return path
