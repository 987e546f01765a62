"""What storage checks have found, over all their runs: the metrics of integrity."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import duckdb

from fluxhero.engine import connect, literal, moment
from fluxhero.integrity.findings import finding_files, latest_findings
from fluxhero.integrity.rules import Severity
from fluxhero.metrics.samples import Sample, sample

logger = logging.getLogger(__name__)

# A fault that a run did not look at again is carried along with the time it was last seen.
_FOUND_SQL = """
CREATE OR REPLACE TEMP TABLE found AS
SELECT
    run, rule, checked_at, state IN ('new', 'known') AS counts,
    outcome = 'failed' AND last_seen = checked_at AS failed
FROM read_parquet([{files}], union_by_name = true) WHERE checked_at <= {now}
"""
_TIMES_SQL = """
SELECT epoch(max(checked_at)), epoch(max(checked_at) FILTER (WHERE sound))
FROM (SELECT max(checked_at) AS checked_at, NOT bool_or(counts) AS sound FROM found GROUP BY run)
"""
_FAILURES_SQL = """
SELECT rule, count(DISTINCT run) FILTER (WHERE counts AND failed) FROM found GROUP BY rule ORDER BY rule
"""


def check_samples(data_dir: Path, now: datetime) -> list[Sample]:
    """The metrics of checks, of which those with a time to come are left out.

    While the findings of an earlier run cannot be read, how often checks failed has no series: a counter that
    fell would count its whole past again.
    """
    files = finding_files(data_dir)
    with connect(threads=1) as connection:
        readable = _load(connection, files, now) if files else 0
        if not readable:
            return []
        samples = [*_times(connection)]
        if readable == len(files):
            samples += [
                sample("integrity_failures_total", runs, check=rule)
                for rule, runs in connection.execute(_FAILURES_SQL).fetchall()
            ]
    if samples:
        counting = (one for one in latest_findings(data_dir, now) if one.state.counts)
        numbers = Counter(one.severity for one in counting)
        samples += [sample("findings_open", numbers[one], severity=str(one)) for one in Severity]
    return samples


def _load(connection: duckdb.DuckDBPyConnection, files: Sequence[Path], now: datetime) -> int:
    """Load the findings of all runs; where a file is damaged, of the others. Returns how many files it took."""

    def load(chosen: Sequence[Path]) -> None:
        listed = ", ".join(literal(str(path)) for path in chosen)
        connection.execute(_FOUND_SQL.format(files=listed, now=moment(now)))

    def sound(path: Path) -> bool:
        try:
            load([path])
        except duckdb.Error as error:
            logger.warning("the findings in %s cannot be read: %s", path, error)
            return False
        return True

    try:
        load(files)
    except duckdb.Error:
        readable = [path for path in files if sound(path)]
        if readable:
            load(readable)
        return len(readable)
    return len(files)


def _times(connection: duckdb.DuckDBPyConnection) -> Iterator[Sample]:
    last, last_ok = connection.execute(_TIMES_SQL).fetchall()[0]
    if last is not None:
        yield sample("integrity_last_run_timestamp_seconds", last)
    if last_ok is not None:
        yield sample("integrity_last_ok_timestamp_seconds", last_ok)
