"""Findings: what every check found, as Parquet, so that a fault has a life: new, known, resolved.

A run writes one file with a line for each fault, and one for each rule that is kept elsewhere. Each area
has files of its own, so that a run of one says nothing about the faults of another. A fault is
the same one as before when rule and object are; it is new again when it has grown by a row. It is
resolved when its rule was checked and it was not found; where the rule could not be checked, or part
of it, it stays as it was.
"""

import json
import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from fluxhero.durable import storage_errors
from fluxhero.engine import connect, literal
from fluxhero.errors import DamagedFileError
from fluxhero.integrity.results import Outcome, Result
from fluxhero.integrity.rules import Severity
from fluxhero.integrity.waivers import Waiver, waived_count
from fluxhero.parquet import DAMAGE
from fluxhero.recorded import read_record, record_path, write_recorded

logger = logging.getLogger(__name__)

FOLDER = "findings"
_RUN_TIME = "%Y%m%dT%H%M%SZ"  # as a run's name, and so its file's, begins
_TIME = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [
        ("run", pa.string()),
        ("checked_at", _TIME),
        ("deep", pa.bool_()),
        ("rule", pa.string()),
        ("severity", pa.string()),
        ("object", pa.string()),
        ("outcome", pa.string()),
        ("state", pa.string()),
        ("checked", pa.int64()),
        ("count", pa.int64()),
        ("waived", pa.int64()),
        ("observed", pa.string()),
        ("keys", pa.list_(pa.string())),
        ("new_keys", pa.list_(pa.string())),
        ("sample", pa.string()),
        ("sql", pa.string()),
        ("first_seen", _TIME),
        ("last_seen", _TIME),
        ("resolved_at", _TIME),
    ]
)


class Area(StrEnum):
    """What a check looks at: how things are stored, or the account's risk limits."""

    STORAGE = "storage"
    LIMITS = "limits"

    def folder(self, data_dir: Path) -> Path:
        """Where the files of its runs lie."""
        home = data_dir / FOLDER
        return home if self is Area.STORAGE else home / self


class State(StrEnum):
    """Where a fault is in its life; what passed and was no fault before is `sound`."""

    NEW = "new"
    KNOWN = "known"
    WAIVED = "waived"
    RESOLVED = "resolved"
    SOUND = "sound"

    @property
    def counts(self) -> bool:
        """Whether a fault in it makes a run end badly."""
        return self in {State.NEW, State.KNOWN}

    @property
    def is_open(self) -> bool:
        """Whether a fault in it is there, waived or not."""
        return self.counts or self is State.WAIVED


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule and object in one run. `sample` is JSON; times are when the fault was seen."""

    rule: str
    severity: Severity
    object: str
    outcome: Outcome
    state: State
    checked: int = 0
    count: int = 0
    waived: int = 0
    observed: str = ""
    keys: tuple[str, ...] = ()
    new_keys: tuple[str, ...] = ()
    sample: str = "[]"
    sql: str = ""
    first_seen: datetime | None = None
    last_seen: datetime | None = None
    resolved_at: datetime | None = None


def new_run_id(at: datetime) -> str:
    """A name for a run that sorts by time."""
    return f"{run_time(at)}-{secrets.token_hex(2)}"


def run_time(at: datetime) -> str:
    """How the name of a run of this second begins."""
    return f"{at:{_RUN_TIME}}"


def judge(
    results: Sequence[Result], before: Sequence[Finding], waivers: Sequence[Waiver], at: datetime
) -> list[Finding]:
    """Hold a run's results against what was open before.

    Args:
        results: of this run; one a rule and object.
        before: findings of the run before.
        waivers: all of them.
        at: now.

    Returns:
        One finding a result, and one for each fault of before that is resolved or was not looked at.
    """
    earlier = {(one.rule, one.object): one for one in before if one.state.is_open}
    found = [
        _judged(result, earlier.get((result.rule.name, result.object)), waivers, at)
        for result in results
    ]
    seen = {(one.rule, one.object) for one in found}
    checked = {result.rule.name for result in results}
    untold = {result.rule.name for result in results if result.outcome is Outcome.ERRORED}
    for key, fault in earlier.items():
        if key in seen:
            continue
        if fault.rule in checked - untold:
            found.append(_resolved(fault, at))
        else:
            found.append(replace(fault, state=_carried(fault), new_keys=()))
    return found


def _judged(
    result: Result, earlier: Finding | None, waivers: Sequence[Waiver], at: datetime
) -> Finding:
    finding = Finding(
        rule=result.rule.name,
        severity=result.rule.severity,
        object=result.object,
        outcome=result.outcome,
        state=State.SOUND,
        checked=result.checked,
    )
    if result.outcome is Outcome.PASSED:
        return (
            finding if earlier is None else _resolved(replace(earlier, checked=result.checked), at)
        )
    if result.outcome is Outcome.ERRORED and earlier is not None:
        # What it had is remembered meanwhile: it would be new again when it can be told.
        result = replace(result, count=max(result.count, earlier.count), keys=earlier.keys)
    waived = 0
    if result.outcome is Outcome.FAILED:
        waived = min(result.count, waived_count(result, waivers, at))
    known = frozenset() if earlier is None else frozenset(earlier.keys)
    fresh = tuple(key for key in result.keys if key not in known)
    grown = earlier is None or bool(fresh) or result.count > earlier.count
    unwaived = State.NEW if grown else State.KNOWN
    return replace(
        finding,
        state=State.WAIVED if waived == result.count else unwaived,
        count=result.count,
        waived=waived,
        observed=result.observed,
        keys=result.keys,
        new_keys=fresh,
        sample=json.dumps(list(result.sample), ensure_ascii=False, default=str),
        sql=result.sql,
        first_seen=at if earlier is None else earlier.first_seen,
        last_seen=at,
    )


def _resolved(fault: Finding, at: datetime) -> Finding:
    return replace(fault, outcome=Outcome.PASSED, state=State.RESOLVED, resolved_at=at, new_keys=())


def _carried(fault: Finding) -> State:
    return State.WAIVED if fault.state is State.WAIVED else State.KNOWN


def write_findings(
    data_dir: Path,
    run: str,
    at: datetime,
    findings: Sequence[Finding],
    *,
    deep: bool,
    area: Area = Area.STORAGE,
) -> Path:
    """Keep a run's findings."""
    path = area.folder(data_dir) / f"{run}.parquet"
    rows = [_row(run, at, deep, finding) for finding in findings]
    write_recorded(path, pa.Table.from_pylist(rows, schema=SCHEMA), at)
    return path


def _row(run: str, at: datetime, deep: bool, finding: Finding) -> dict[str, Any]:
    row = {name: getattr(finding, name) for name in finding.__slots__}
    texts = {name: str(row[name]) for name in ("severity", "outcome", "state")}
    lists = {name: list(row[name]) for name in ("keys", "new_keys")}
    return row | texts | lists | {"run": run, "checked_at": at, "deep": deep}


def finding_files(data_dir: Path, area: Area = Area.STORAGE) -> list[Path]:
    """The files of all runs of an area, oldest first; what has no record is another program's."""
    folder = area.folder(data_dir)
    paths = (path for path in folder.glob("*.parquet") if not path.name.startswith("."))
    return sorted(path for path in paths if record_path(path).exists())


def newest_first(data_dir: Path, now: datetime, area: Area = Area.STORAGE) -> list[Path]:
    """The files of an area's runs until now.

    A run of time to come had a wrong clock: it would be the last one until then.
    """
    until = run_time(now)
    files = finding_files(data_dir, area)
    return [path for path in reversed(files) if path.stem[: len(until)] <= until]


def latest_findings(
    data_dir: Path, now: datetime, area: Area = Area.STORAGE, *, besides: str | None = None
) -> list[Finding]:
    """What the last run of an area until now found; of one whose file is damaged, the run before.

    A damaged file is itself found by the scrub, so nothing is hidden by going on without it.

    Args:
        data_dir: the data folder.
        now: the time.
        area: what was looked at.
        besides: a run that does not count.
    """
    for path in newest_first(data_dir, now, area):
        if path.stem == besides:
            continue
        try:
            return read_findings(path)
        except DamagedFileError as error:
            logger.warning("%s; going by the run before it", error)
    return []


def read_findings(path: Path) -> list[Finding]:
    """What one run found.

    Raises:
        DamagedFileError: its file or the record of it cannot be read.
        StorageIOError: the operating system refuses.
    """
    read_record(path)
    with storage_errors("read", path):
        try:
            rows = pq.read_table(
                path, schema=SCHEMA, page_checksum_verification=True, partitioning=None
            ).to_pylist()
            return [_finding(row) for row in rows]
        except (*DAMAGE, TypeError) as error:
            raise _unreadable(path, str(error)) from error


def _unreadable(path: Path, why: str) -> DamagedFileError:
    return DamagedFileError(
        f"{path} cannot be read: {why}",
        next_step="restore it from a backup; its findings are found again by the next check",
    )


def _finding(row: dict[str, Any]) -> Finding:
    values = {name: row[name] for name in Finding.__slots__}
    return Finding(
        **values
        | {
            "severity": Severity(row["severity"]),
            "outcome": Outcome(row["outcome"]),
            "state": State(row["state"]),
            "keys": tuple(row["keys"]),
            "new_keys": tuple(row["new_keys"]),
        }
    )


UNTOLD = -1
_TREND_SQL = """
SELECT rule, parse_filename(filename, true) AS run,
    CASE WHEN bool_or(outcome = 'errored') THEN -1
    ELSE coalesce(sum(count) FILTER (outcome = 'failed'), 0) END::BIGINT
FROM read_parquet([{files}], filename = true) GROUP BY ALL
"""


@dataclass(frozen=True, slots=True)
class Trend:
    """How many rows or files broke a rule in the last runs, oldest first.

    `UNTOLD` where it could not be told, None where the rule was not checked.
    """

    rule: str
    counts: tuple[int | None, ...]


def trends(data_dir: Path, runs: int) -> list[Trend]:
    """How each rule did in the last runs."""
    files = finding_files(data_dir)[-runs:]
    if not files:
        return []
    listed = ", ".join(literal(str(path)) for path in files)
    with connect(threads=1) as engine:
        try:
            rows = engine.execute(_TREND_SQL.format(files=listed)).fetchall()
        except duckdb.Error as error:
            logger.warning("no trends, as an earlier run's findings cannot be read: %s", error)
            return []
    counted = {(rule, run): count for rule, run, count in rows}
    order = [path.stem for path in files]
    return [
        Trend(rule, tuple(counted.get((rule, run)) for run in order))
        for rule in sorted({rule for rule, _, _ in rows})
    ]
