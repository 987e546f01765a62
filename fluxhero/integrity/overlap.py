"""Rows that are both hot and archived: meant to be, or put back, or changed.

A row is meant to be in both places while its batch is not purged, after a restore, on hold, or when
the purge found it changed. Values are compared by hash, and shown from the store and the file.
"""

from collections.abc import Collection, Iterator
from typing import Any

import pyarrow as pa

from fluxhero.archive.holds import held_keys
from fluxhero.archive.manifest import PURGES, EventKind, Manifest
from fluxhero.engine import literal, one_row
from fluxhero.integrity import ledger_rules as rules
from fluxhero.integrity.faults import gather
from fluxhero.integrity.ledger import Ledger
from fluxhero.integrity.results import Result, failed, passed
from fluxhero.ledger.rows import ARCHIVED_AT, ROW_HASH
from fluxhero.ledger.schema import LEDGER_TABLES
from fluxhero.ledger.view import BATCH_ID
from fluxhero.wording import counted

_CHUNK = 20_000  # rows that are read from the store at one time to compare them


def find_overlap(ledger: Ledger, table: str) -> None:
    """Make the table `overlap_{table}`: a row for each key that is in both places.

    Its columns: key, batch of the latest archived version, equal (to the hot row), and what may explain it:
    purged, kept, restored, held.
    """
    _compare(ledger, table)
    _explain(ledger, table)


def check_values(ledger: Ledger, table: str) -> Iterator[Result]:
    """`ledger.hot-equals-archived` and `ledger.hot-differs-from-archived`."""
    about = f"{table} (hot)"
    hot = one_row(ledger.connection, f"SELECT count(*) FROM hot.{table}")[0]
    faults = gather(
        ledger.connection,
        f"SELECT key, batch AS {BATCH_ID} FROM overlap_{table} WHERE equal AND purged AND NOT kept "
        "AND NOT restored AND NOT held",
    )
    if faults.count:
        yield failed(
            rules.HOT_EQUALS_ARCHIVED,
            about,
            f"{counted(faults.count, 'row')} of {table} {'is' if faults.count == 1 else 'are'} hot again, equal "
            "to the archived copy, although the purge is on record",
            count=faults.count,
            checked=hot,
            keys=faults.keys,
            sample=faults.sample,
            sql=_both_sql(ledger, table),
        )
    else:
        yield passed(rules.HOT_EQUALS_ARCHIVED, about, hot)
    yield _differing(ledger, table, about, hot)


def _both_sql(ledger: Ledger, table: str) -> str:
    """For a reader: every version of the rows that are in both places."""
    key = LEDGER_TABLES[table].key[0]
    files = f"{ledger.scope.workspace.layout.root}/{table}/**/*.parquet"
    archived = ledger.key_sql(table)
    return (
        f"SELECT {archived} AS key, * FROM read_parquet({literal(files)}, hive_partitioning = false) "
        f"WHERE {archived} IN (SELECT {key} FROM {table} WHERE _location = 'hot') ORDER BY 1, {ARCHIVED_AT}"
    )


def _compare(ledger: Ledger, table: str) -> None:
    connection, key = ledger.connection, LEDGER_TABLES[table].key[0]
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE overlap_{table} (key VARCHAR, batch VARCHAR, equal BOOLEAN)"
    )
    near = ledger.holding_keys(table, f"SELECT {key} AS key FROM hot.{table}")
    if not near:
        return
    with ledger.scope.workspace.scanning(near):
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE doubled AS SELECT {ledger.key_sql(table)} AS key, "
            f"arg_max({BATCH_ID}, {ARCHIVED_AT}) AS batch, "
            f"arg_max({_hash_sql(ledger, table, near)}, {ARCHIVED_AT}) AS hash FROM {ledger.scan(near)} "
            f"WHERE {ledger.key_sql(table)} IN (SELECT {key} FROM hot.{table}) GROUP BY 1"
        )
    keys = connection.sql("SELECT key FROM doubled ORDER BY key").to_arrow_table()["key"]
    for start in range(0, len(keys), _CHUNK):
        chosen = keys.slice(start, _CHUNK).to_pylist()
        connection.register("fetched", ledger.scope.workspace.store.fetch(table, chosen))
        connection.execute(
            f"INSERT INTO overlap_{table} SELECT d.key, d.batch, coalesce(f.{ROW_HASH} = d.hash, false) "
            f"FROM fetched f JOIN doubled d ON d.key = {ledger.key_sql(table, 'f.')}"
        )
        connection.unregister("fetched")


def _hash_sql(ledger: Ledger, table: str, manifests: Collection[Manifest]) -> str:
    """SQL of archived rows' hashes: as stored, or of the values if another DuckDB stored them."""
    files = [ledger.scope.workspace.archived_file(manifest) for manifest in manifests]
    current = all(file.hash_is_current for file in files)
    return ROW_HASH if current else ledger.values_hash_sql(table)


def _explain(ledger: Ledger, table: str) -> None:
    chain, connection = ledger.chain, ledger.connection
    batches = [m.batch_id for m in chain.of_table(table)]
    text = pa.string()

    def pairs(kinds: Collection[EventKind]) -> pa.Table:
        found = [
            (event.batch_id, key)
            for batch in batches
            for kind in kinds
            for event in chain.events(batch, kind)
            for key in (event.keys or event.kept_hot)
        ]
        return pa.table(
            {
                "batch": pa.array([b for b, _ in found], text),
                "key": pa.array([k for _, k in found], text),
            }
        )

    purged = [batch for batch in batches if chain.events(batch, EventKind.PURGED)]
    held = sorted(held_keys(ledger.scope.workspace.layout.holds, ledger.scope.now)[table])
    connection.register("purged_batches", pa.table({"batch": pa.array(purged, text)}))
    connection.register("held", pa.table({"key": pa.array(held, text)}))
    connection.register("kept_rows", pairs(sorted(PURGES)))
    connection.register("restored_rows", pairs([EventKind.RESTORED]))
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE overlap_{table} AS SELECT *, batch IN (FROM purged_batches) AS purged, "
        "(batch, key) IN (FROM kept_rows) AS kept, (batch, key) IN (FROM restored_rows) AS restored, "
        f"key IN (FROM held) AS held FROM overlap_{table}"
    )


def _differing(ledger: Ledger, table: str, about: str, hot: int) -> Result:
    faults = gather(
        ledger.connection,
        f"SELECT key, batch AS {BATCH_ID} FROM overlap_{table} WHERE NOT equal AND NOT restored AND NOT held",
    )
    if not faults.count:
        return passed(rules.HOT_DIFFERS, about, hot)
    sample = [_both_versions(ledger, table, row["key"], row["batch"]) for row in faults.sample]
    columns = sorted({name for row in sample for name in row["differs"]})
    return failed(
        rules.HOT_DIFFERS,
        about,
        f"{counted(faults.count, 'row')} of {table} changed after {'it was' if faults.count == 1 else 'they were'} "
        f"archived, in {', '.join(columns) or 'values that the archive cannot hold'}",
        count=faults.count,
        checked=hot,
        keys=faults.keys,
        sample=tuple(sample),
        sql=_both_sql(ledger, table),
    )


def _both_versions(ledger: Ledger, table: str, key: str, batch: str) -> dict[str, Any]:
    """The values in which a hot row and its archived version differ."""
    workspace = ledger.scope.workspace
    names = workspace.store.own_schema(table).names
    manifests = [m for m in ledger.chain.of_table(table) if m.batch_id == batch]
    values = ", ".join(f"{name}::VARCHAR" for name in names)
    with workspace.scanning(manifests):
        archived = one_row(
            ledger.connection,
            f"SELECT {values} FROM {ledger.scan(manifests)} WHERE {ledger.key_sql(table)} = ?",
            [key],
        )
    ledger.connection.register("fetched", workspace.store.fetch(table, [key]))
    rows = ledger.connection.execute(f"SELECT {values} FROM fetched").fetchall()
    ledger.connection.unregister("fetched")
    hot = rows[0] if rows else archived
    differs = [name for name, one, other in zip(names, hot, archived, strict=True) if one != other]
    return {
        "key": key,
        "batch": batch,
        "differs": differs,
        "hot": {name: hot[names.index(name)] for name in differs},
        "archived": {name: archived[names.index(name)] for name in differs},
    }
