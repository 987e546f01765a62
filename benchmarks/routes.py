"""The routes that are measured, each run in a process of its own: `python -m benchmarks.routes NAME …`.

A route prints one JSON line: CPU seconds (user and system, this process), wall seconds, peak memory.
"""

import json
import resource
import sqlite3
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fluxhero.archive import batches, purge
from fluxhero.archive.identity import claim
from fluxhero.archive.layout import Layout
from fluxhero.archive.recover import recover
from fluxhero.archive.workspace import Workspace
from fluxhero.ledger.duckdb_store import DuckDBStore
from fluxhero.ledger.sqlite_store import SqliteStore
from fluxhero.ledger.store import HotStore, PlanRequest

_AFTER_ALL = datetime(2030, 1, 1, tzinfo=UTC)
_BATCH_ROWS = 131_072


def _workspace(store: HotStore, folder: Path) -> Workspace:
    return Workspace(store, Layout(folder / "archive"), folder, folder / "cache", _BATCH_ROWS)


def _archive(store: HotStore, folder: Path) -> int:
    """The whole protocol, every step of it, without the orchestrator."""
    workspace = _workspace(store, folder)
    now = datetime.now(UTC)
    identity = claim(workspace.layout, store, now)
    chain = workspace.chain()
    recover(workspace, chain, now=now, purge_before=_AFTER_ALL)
    published = []
    archived_at = batches.next_archived_at(chain, now)
    for table in store.archived_tables:
        request = PlanRequest(_AFTER_ALL, frozenset(), _BATCH_ROWS)
        for spec in store.plan(table, request, []).batches:
            staged = batches.stage(
                workspace, identity.store_id, spec, chain.next_sequence, archived_at
            )
            verified = batches.verify(workspace, staged)
            manifest = batches.publish(workspace, identity.store_id, chain, verified)
            chain = chain.followed_by(manifest)
            published.append(manifest)
            archived_at += timedelta(microseconds=1)
    report = purge.purge(workspace, chain, published, now=now, proven=True)
    store.close()
    return report.purged


def archive_duckdb(store: Path, folder: Path) -> int:
    """Our protocol on a DuckDB store."""
    return _archive(DuckDBStore(store, lock_timeout=10, temp_dir=folder / "tmp"), folder)


def archive_sqlite(store: Path, folder: Path) -> int:
    """Our protocol on a FluxHero SQLite store."""
    adapter = SqliteStore(
        store, timezone="UTC", lock_timeout=10, quarantine_dir=folder / "q", temp_dir=folder / "tmp"
    )
    return _archive(adapter, folder)


def copy_duckdb(store: Path, folder: Path) -> int:
    """What the DuckDB route is compared with: a bare COPY, which proves and purges nothing."""
    import duckdb

    with duckdb.connect(str(store), read_only=True) as connection:
        target = folder / "copy.parquet"
        rows = connection.execute(
            f"COPY (SELECT * FROM trades) TO '{target}' (FORMAT parquet, COMPRESSION zstd)"
        ).fetchall()
    return int(rows[0][0])


def pandas_sqlite(store: Path, folder: Path) -> int:
    """What the SQLite route is compared with: the way FluxHero itself archives."""
    import pandas as pd

    connection = sqlite3.connect(store)
    cursor = connection.execute("SELECT * FROM live_trades WHERE exit_time < '2030-01-01'")
    rows = cursor.fetchall()
    frame = pd.DataFrame(rows, columns=[column[0] for column in cursor.description])
    frame.to_parquet(folder / "pandas.parquet", compression="snappy")
    connection.execute("DELETE FROM live_trades WHERE exit_time < '2030-01-01'")
    connection.commit()
    connection.close()
    return len(frame)


ROUTES: dict[str, Callable[[Path, Path], int]] = {
    route.__name__: route for route in (archive_duckdb, archive_sqlite, copy_duckdb, pandas_sqlite)
}


def cpu_seconds(*, children: bool = False) -> float:
    """User and system time of this process, and of those that it started and waited for."""
    usages = [resource.getrusage(resource.RUSAGE_SELF)]
    if children:
        usages.append(resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def peak_mb() -> int:
    """Peak memory of this program; ru_maxrss would count that of the process that started it, too."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024)


def _warm(name: str) -> None:
    """Import what the route needs, so that no route is charged for start-up."""
    if name == "pandas_sqlite":
        import pandas as pd
        import pyarrow.parquet  # noqa: F401

        pd.DataFrame({"x": ["a"]}).convert_dtypes()


def main() -> None:
    """Run one route: NAME STORE FOLDER."""
    name, store, folder = sys.argv[1:4]
    _warm(name)
    cpu, wall = cpu_seconds(), time.perf_counter()
    rows = ROUTES[name](Path(store), Path(folder))
    result = {
        "route": name,
        "rows": rows,
        "cpu": round(cpu_seconds() - cpu, 3),
        "wall": round(time.perf_counter() - wall, 3),
        "peak_mb": peak_mb(),
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
