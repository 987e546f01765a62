"""Purges against their records: completed, and adding up to the rows of their batch."""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from fluxhero.archive.holds import held_keys
from fluxhero.archive.manifest import Event, EventKind, Manifest
from fluxhero.engine import literal, moment, one_row
from fluxhero.integrity import ledger_rules as rules
from fluxhero.integrity.ledger import Ledger
from fluxhero.integrity.results import MOST_KEYS, MOST_SAMPLED, Result, failed, passed
from fluxhero.integrity.rules import Rule
from fluxhero.ledger.rows import CLOSED_AT
from fluxhero.ledger.schema import LEDGER_TABLES
from fluxhero.wording import counted

_GRACE = timedelta(days=1)  # a row that became due today waits for tonight's run


def check_purge_complete(ledger: Ledger, table: str) -> Iterator[Result]:
    """`ledger.purge-complete` and `ledger.purge-interrupted`; needs what `find_overlap` found."""
    batches = ledger.chain.of_table(table)
    unpurged = ledger.chain.unpurged()
    lines = [line for m in batches if m in unpurged and (line := _left(ledger, m))]
    copied = [line for line in lines if line["hot"] == line["due"]]
    begun = [line for line in lines if line["hot"] < line["due"]]
    yield _unpurged(rules.PURGE_COMPLETE, table, copied, "copied and not purged", len(batches))
    yield _unpurged(rules.PURGE_INTERRUPTED, table, begun, "purged in part", len(batches))


def _unpurged(
    rule: Rule, table: str, lines: Sequence[dict[str, Any]], what: str, checked: int
) -> Result:
    about = f"{table} (archive)"
    if not lines:
        return passed(rule, about, checked)
    rows = sum(line["hot"] for line in lines)
    return failed(
        rule,
        about,
        f"{counted(len(lines), 'batch')} of {table} {'was' if len(lines) == 1 else 'were'} {what}: "
        f"{counted(rows, 'row')} that {'is' if rows == 1 else 'are'} due "
        f"{'is' if rows == 1 else 'are'} still hot",
        count=len(lines),
        checked=checked,
        keys=tuple(line["batch"] for line in lines),
        sample=tuple(lines[:MOST_SAMPLED]),
        sql=f"SELECT * FROM batches WHERE table_name = {literal(table)} AND purged_rows < rows",
    )


def _left(ledger: Ledger, manifest: Manifest) -> dict[str, Any] | None:
    """What should have been purged of a batch that never was; None where nothing should have been."""
    scope, table = ledger.scope, manifest.table
    due = _due_before(ledger, manifest)
    if manifest.file.first_closed_at >= due:
        return None
    key = LEDGER_TABLES[table].key[0]
    held = sorted(held_keys(scope.workspace.layout.holds, scope.now)[table])
    ledger.connection.register("held", pa.table({"key": pa.array(held, pa.string())}))
    later = [
        m for m in ledger.chain.of_table(table) if m.correction and m.sequence > manifest.sequence
    ]
    own = ledger.key_sql(table)
    newer = f"AND {own} NOT IN (SELECT {own} FROM {ledger.scan(later)})" if later else ""
    equal = f"SELECT key FROM overlap_{table} WHERE equal AND batch = {literal(manifest.batch_id)}"
    with scope.workspace.scanning([manifest, *later]):
        going, present, same = one_row(
            ledger.connection,
            f"WITH going AS (SELECT {own} AS key FROM {ledger.scan([manifest])} "
            f"WHERE {CLOSED_AT} < {moment(due)} AND {own} NOT IN (SELECT key FROM held) {newer}) "
            f"SELECT count(*), count(*) FILTER (key IN (SELECT {key} FROM hot.{table})), "
            f"count(*) FILTER (key IN ({equal})) FROM going",
        )
    recorded = ledger.chain.events(manifest.batch_id, EventKind.PARTLY_PURGED)
    if not going or (recorded and not present):
        return None
    if present and not same:
        return None  # what is hot of it has changed since: a late correction
    return {"batch": manifest.batch_id, "rows": manifest.file.rows, "due": going, "hot": present}


def _due_before(ledger: Ledger, manifest: Manifest) -> datetime:
    retention = timedelta(days=ledger.scope.retention_days)
    return min(manifest.cutoff, ledger.scope.now - retention - _GRACE)


def check_purge_count(ledger: Ledger, table: str) -> Iterator[Result]:
    """`ledger.purge-count`: what the events of each batch come to."""
    about = f"{table} (archive)"
    batches = ledger.chain.of_table(table)
    lines = [line for manifest in batches if (line := _miscounted(ledger, manifest))]
    if not lines:
        yield passed(rules.PURGE_COUNT, about, len(batches))
        return
    yield failed(
        rules.PURGE_COUNT,
        about,
        "; ".join(line["what"] for line in lines[:3]),
        count=len(lines),
        checked=len(batches),
        keys=tuple(line["batch"] for line in lines)[:MOST_KEYS],
        sample=tuple(lines[:MOST_SAMPLED]),
        sql=f"SELECT batch_id, rows, purged_rows, restored_rows FROM batches WHERE table_name = {literal(table)}",
    )


def _miscounted(ledger: Ledger, manifest: Manifest) -> dict[str, Any] | None:
    """What is wrong with the record of a batch's purges; None where it adds up.

    A purge that its own run recorded accounts for every row. One that a later run completed need not:
    the run before may have been killed after it removed some, or rows may have a newer version.
    """
    rows = manifest.file.rows
    events = _events(ledger, manifest)
    hot = rows
    for place, event in enumerate(events):
        if event.kind is EventKind.RESTORED:
            hot += event.rows
            continue
        accounted = event.rows + len(event.kept_hot)
        if place == 0 and event.at <= manifest.created_at and accounted != rows:
            what = f"{manifest.batch_id} has {counted(rows, 'row')}; its purge accounts for {accounted:,}"
            return _line(manifest, events, what)
        hot -= event.rows
        if hot < 0:
            what = (
                f"{manifest.batch_id} has {counted(rows, 'row')}, of which {rows - hot:,} were purged "
                "in all, more often than they were restored"
            )
            return _line(manifest, events, what)
    return None


def _events(ledger: Ledger, manifest: Manifest) -> list[Event]:
    kinds = sorted(EventKind)
    events = [event for kind in kinds for event in ledger.chain.events(manifest.batch_id, kind)]
    return sorted(events, key=lambda event: event.at)


def _line(manifest: Manifest, events: Collection[Event], what: str) -> dict[str, Any]:
    return {
        "batch": manifest.batch_id,
        "what": what,
        "rows": manifest.file.rows,
        "events": [
            f"{event.at.isoformat()} {event.kind} {event.rows}, kept hot {len(event.kept_hot)}"
            for event in events
        ],
    }
