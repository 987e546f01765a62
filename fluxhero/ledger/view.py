"""The one view of the ledger: what is hot and what is archived, each key once.

A key's row is the hot one where there is one, else the latest archived version. The hot store is
read first and the manifests after it: rows get into the archive before they leave the hot store, so
that no purge or restore running meanwhile can hide one. Hot rows are copied into memory, archived
ones stay where they are and are scanned as a query needs them.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from fluxhero.archive.identity import check_owner
from fluxhero.archive.manifest import Chain, EventKind, Manifest
from fluxhero.archive.workspace import Workspace
from fluxhero.engine import connect, literal, one_row
from fluxhero.integrity.findings import SCHEMA, Area, finding_files
from fluxhero.ledger import bars_view
from fluxhero.ledger.kept_views import KEPT_VIEWS
from fluxhero.ledger.rows import ARCHIVED_AT
from fluxhero.ledger.schema import ALL_TABLES, LEDGER_TABLES, Table

BATCHES, FINDINGS = "batches", "findings"
VIEWS = (
    *ALL_TABLES,
    *(BATCHES, FINDINGS),
    *KEPT_VIEWS,
    bars_view.NAME,
)
LOCATION, BATCH_ID = "_location", "_batch_id"

ArchivedRows = Callable[[Table, pa.Table], pa.Table]


@contextmanager
def open_view(
    workspace: Workspace,
    tables: Iterable[str] = VIEWS,
    columns: Collection[str] | Mapping[str, Collection[str]] | None = None,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection that has the ledger as views.

    `trades` and `orders` have three columns more than the ledger: `_location` (hot or archive),
    `_archived_at` and `_batch_id`. `batches` has one row a manifest, `findings` what every check of
    storage and limits found, `snapshots` what was measured when, `trials` every backtest that was tried,
    `differences` and `round_trips` what reconciling found, `bars` the cache of bars.

    Args:
        workspace: the store and its archive; neither is changed.
        tables: names from `VIEWS`; only these are made.
        columns: columns that will be read of hot rows, of every table or by table; by default all. See
            `HotStore.load`.

    Raises:
        ForeignArchiveError: the archive belongs to another store.
        ManifestError: the archive's manifests are damaged or incomplete.
        DamagedFileError: the views cannot be made, or what is done with them fails in the words of
            DuckDB, and one of their files is not the one that was published.
        BadInputError: a file of the cache holds something else than bars.
    """
    wanted = [name for name in VIEWS if name in set(tables)]
    store = workspace.store
    check_owner(workspace.layout, store)
    with connect(temp_dir=workspace.data_dir / "tmp") as connection:
        connection.execute(
            "SET python_enable_replacements = false"
        )  # no Python variable is a table
        connection.execute("CREATE SCHEMA hot")
        for name in wanted:
            if name in ALL_TABLES:
                read = columns.get(name) if isinstance(columns, Mapping) else columns
                store.load(connection, name, f"hot.{name}", read)
        chain = workspace.chain()  # after the hot rows, never before
        with workspace.scanning([m for name in wanted for m in chain.of_table(name)]):
            for name in wanted:
                if name == BATCHES:
                    _create_batches(connection, chain)
                elif name == FINDINGS:
                    _create_findings(connection, workspace.data_dir)
                elif name in KEPT_VIEWS:
                    KEPT_VIEWS[name].create(connection, workspace.data_dir)
                elif name == bars_view.NAME:
                    bars_view.create_bars(connection, workspace.cache_dir)
                elif name in store.archived_tables:
                    sql = _whole_sql(workspace, LEDGER_TABLES[name], chain.of_table(name))
                    connection.execute(f"CREATE VIEW {name} AS {sql}")
                else:
                    connection.execute(f"CREATE VIEW {name} AS FROM hot.{name}")
            yield connection


def _whole_sql(workspace: Workspace, table: Table, manifests: Sequence[Manifest]) -> str:
    """SELECT each row of a table once, wherever it is."""
    names = ", ".join(f'"{name}"' for name in table.names)
    hot = (
        f"SELECT {names}, 'hot' AS {LOCATION}, NULL::TIMESTAMPTZ AS {ARCHIVED_AT}, "
        f"NULL::VARCHAR AS {BATCH_ID} FROM hot.{table.name}"
    )
    if not manifests:
        return hot
    key = table.key[0]
    archived = latest_sql(workspace, table, manifests)
    return (
        f"{hot} UNION ALL SELECT {names}, 'archive', {ARCHIVED_AT}, {BATCH_ID} FROM ({archived}) "
        f"AS archived ANTI JOIN hot.{table.name} AS current ON current.{key} = archived.{key}"
    )


def latest_sql(
    workspace: Workspace,
    table: Table,
    manifests: Sequence[Manifest],
    *,
    among: Sequence[Manifest] | None = None,
    carried: Sequence[str] = (),
) -> str:
    """SELECT each row's latest archived version: canonical columns, `_archived_at`, `_batch_id`.

    Only a later correction can supersede an older version, so that nothing but the keys of those is held
    against the rows.

    Args:
        workspace: the store and its archive.
        table: the table.
        manifests: batches whose rows are selected; at least one.
        among: batches of which the version has to be the latest; by default the same.
        carried: SQL over the rows' own columns, selected behind the others.
    """
    store, key = workspace.store, table.key[0]
    rows = scan_sql(workspace, manifests)
    every = store.canonical_sql(table.name, rows, carried=(ARCHIVED_AT, BATCH_ID, *carried))
    known = manifests if among is None else among
    first = min(manifest.sequence for manifest in manifests)
    corrections = [m for m in known if m.correction and m.sequence > first]
    if not corrections:
        return every
    return (
        f"SELECT version.* FROM ({every}) AS version ANTI JOIN ("
        f"SELECT {store.key_sql(table.name)} AS key, max({ARCHIVED_AT}) AS at "
        f"FROM {scan_sql(workspace, corrections)} GROUP BY 1) AS newer "
        f"ON newer.key = version.{key} AND newer.at > version.{ARCHIVED_AT}"
    )


def scan_sql(workspace: Workspace, manifests: Sequence[Manifest]) -> str:
    """FROM clause of batches' rows as they are stored, with `_batch_id`; there is at least one."""
    paths = ", ".join(literal(str(workspace.layout.root / m.file.path)) for m in manifests)
    return (
        f"(SELECT * EXCLUDE (filename), parse_filename(filename, true) AS {BATCH_ID} FROM "
        f"read_parquet([{paths}], hive_partitioning = false, filename = true))"
    )


def _create_batches(connection: duckdb.DuckDBPyConnection, chain: Chain) -> None:
    batches = [
        {
            "batch_id": manifest.batch_id,
            "table_name": manifest.table,
            "mode": manifest.mode,
            "year": int(manifest.month[:4]),
            "month": int(manifest.month[5:]),
            "correction": manifest.correction,
            "rows": manifest.file.rows,
            "bytes": manifest.file.bytes,
            "sha256": manifest.file.sha256,
            "created_at": manifest.created_at.isoformat(),
            "purged_rows": chain.purged_rows(manifest.batch_id),
            "restored_rows": _restored(chain, manifest),
            "file": manifest.file.path,
        }
        for manifest in chain.manifests
    ]
    shape = (
        '[{"batch_id":"VARCHAR","table_name":"VARCHAR","mode":"VARCHAR","year":"INTEGER",'
        '"month":"INTEGER","correction":"BOOLEAN","rows":"BIGINT","bytes":"BIGINT",'
        '"sha256":"VARCHAR","created_at":"TIMESTAMPTZ","purged_rows":"BIGINT",'
        '"restored_rows":"BIGINT","file":"VARCHAR"}]'
    )
    connection.execute(
        f"CREATE TABLE {BATCHES} AS SELECT unnest(from_json(?, '{shape}'), recursive := true)",
        [json.dumps(batches)],
    )


def _create_findings(connection: duckdb.DuckDBPyConnection, data_dir: Path) -> None:
    files = {area: finding_files(data_dir, area) for area in Area}
    parts = [
        f"SELECT *, {literal(area.value)} AS area FROM read_parquet("
        f"[{', '.join(literal(str(path)) for path in paths)}], union_by_name = true)"
        for area, paths in files.items()
        if paths
    ]
    if parts:
        connection.execute(f"CREATE VIEW {FINDINGS} AS {' UNION ALL BY NAME '.join(parts)}")
    else:
        schema = SCHEMA.append(pa.field("area", pa.string()))
        connection.from_arrow(schema.empty_table()).create(FINDINGS)


def _restored(chain: Chain, manifest: Manifest) -> int:
    return sum(event.rows for event in chain.events(manifest.batch_id, EventKind.RESTORED))


def archived_rows(workspace: Workspace) -> ArchivedRows:
    """Make a look-up of archived rows as the archive stands now, for a holder of its lock.

    Returns:
        A function of a ledger table and rows of its key columns. It returns the latest archived
        version of each key that has one, in canonical columns.
    """
    chain = workspace.chain()

    def look_up(table: Table, keys: pa.Table) -> pa.Table:
        if not keys.num_rows or table.name not in workspace.store.archived_tables:
            return table.arrow.empty_table()
        with connect(temp_dir=workspace.data_dir / "tmp") as engine:
            return _archived(engine, workspace, table, chain, keys)

    return look_up


def _archived(
    engine: duckdb.DuckDBPyConnection,
    workspace: Workspace,
    table: Table,
    chain: Chain,
    keys: pa.Table,
) -> pa.Table:
    key = table.key[0]
    engine.register("keys", keys)
    first, last = one_row(engine, f"SELECT min({key}), max({key}) FROM keys")
    near = [
        manifest
        for manifest in chain.of_table(table.name)
        if manifest.file.first_key <= last and manifest.file.last_key >= first
    ]
    if not near:
        return table.arrow.empty_table()
    names = ", ".join(f'"{name}"' for name in table.names)
    latest = latest_sql(workspace, table, near)
    with workspace.scanning(near):
        rows = engine.sql(
            f"SELECT {names} FROM ({latest}) SEMI JOIN keys USING ({key})"
        ).to_arrow_table()
    return rows.cast(table.arrow)
