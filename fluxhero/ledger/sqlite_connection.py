"""The only way this product opens a SQLite file.

One SQLite library per process, always: POSIX locks belong to the process, so a second copy of SQLite
(the standard library's beside the Arrow driver's) that closes the same file would drop the locks of
the first and could corrupt a live bot's database. Everything here goes through the Arrow driver; the
backup, which needs SQLite's own backup call, runs in a process of its own.
"""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import adbc_driver_sqlite.dbapi as adbc
import pyarrow as pa

from fluxhero.durable import before_copied, storage_errors, sync_file, sync_folder
from fluxhero.errors import (
    DamagedStoreError,
    FluxHeroError,
    ForeignStoreError,
    StorageIOError,
    StoreLockedError,
    first_line,
)
from fluxhero.ledger.mistaken import foreign_file

# The driver infers types from its first batch; pages must fit into one.
_BATCH_ROWS = 65_536
_LOCKED = ("database is locked", "database table is locked", "database schema is locked")
_NOT_SQLITE = "not a database"
_DAMAGED = (_NOT_SQLITE, "malformed", "disk image", "corrupt")


def check_there(path: Path) -> None:
    """Make sure that there is a file, without opening it.

    Raises:
        ForeignStoreError: there is none.
    """
    if not path.is_file():
        raise ForeignStoreError(
            f"no SQLite database at {path}",
            next_step="point FLUXHERO_STORE_URL at the bot's system.db",
        )


class SqliteConnection:
    """A connection in autocommit mode: transactions are opened by hand, as late as possible."""

    def __init__(self, path: Path, *, read_only: bool, busy_timeout: float) -> None:
        """Open an existing file; never creates one.

        Args:
            path: the database file.
            read_only: refuse every write at the SQLite level.
            busy_timeout: seconds SQLite waits for a lock before it gives up.

        Raises:
            ForeignStoreError: there is no such file, or it is not SQLite.
        """
        self.path = path
        check_there(path)
        mode = "ro" if read_only else "rw"
        with self._translated("open"):
            self._connection = adbc.connect(f"file:{quote(str(path))}?mode={mode}", autocommit=True)
        self._cursor = self._connection.cursor()
        self._changes = (
            self._connection.cursor()
        )  # a cursor remembers its last query: one for each use
        self._cursor.adbc_statement.set_options(
            **{"adbc.sqlite.query.batch_rows": str(_BATCH_ROWS)}
        )
        self.rows(f"PRAGMA busy_timeout = {int(busy_timeout * 1000)}")

    def __enter__(self) -> "SqliteConnection":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; an open transaction is rolled back."""
        self._cursor.close()
        self._changes.close()
        self._connection.close()

    def execute(self, sql: str) -> int:
        """Run a statement that returns no rows; returns how many rows it changed."""
        with self._translated("write to" if sql.startswith(("DELETE", "COMMIT")) else "use"):
            statement = self._changes.adbc_statement
            statement.set_sql_query(sql)
            return int(statement.execute_update())

    def insert(self, sql: str, rows: pa.RecordBatch) -> None:
        """Run a parameterised statement once for each row."""
        with self._translated("write to"):
            self._cursor.executemany(sql, rows)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Fetch a small result as Python values."""
        with self._translated("read"):
            self._cursor.execute(sql)
            fetched: list[tuple[Any, ...]] = self._cursor.fetchall()
            return fetched

    def value(self, sql: str) -> Any:
        """Fetch the single value of a single row."""
        return self.rows(sql)[0][0]

    def arrow(self, columns: Sequence[tuple[str, str, pa.DataType]], tail: str) -> pa.Table:
        """Select columns, at most 65,535 rows of them.

        Args:
            columns: (name, SQL expression, Arrow type expected) of each output column.
            tail: everything from FROM on.

        Returns:
            A table with the types expected, wherever the values fit them; a column with a value of
            another storage class comes back with another type (text or binary as a rule). The
            driver infers types from values, and an all-null column would come back as integers, so
            a row of typed values is put in front and cut off again.
        """
        probe = ", ".join(f'{_PROBE[kind]} AS "{name}"' for name, _, kind in columns)
        wanted = ", ".join(expression for _, expression, _ in columns)
        with self._translated("read"):
            self._cursor.execute(f"SELECT {probe} UNION ALL SELECT * FROM (SELECT {wanted} {tail})")
            table: pa.Table = self._cursor.fetch_arrow_table()
        return table.slice(1)

    @property
    def change_token(self) -> int:
        """SQLite's data version: while it stays the same, no other connection committed anything."""
        return int(self.value("PRAGMA data_version"))

    @property
    def layout_version(self) -> int:
        """SQLite's schema version: VACUUM, which may number rows anew, changes it, too."""
        return int(self.value("PRAGMA schema_version"))

    @contextmanager
    def write_transaction(self) -> Iterator[None]:
        """BEGIN IMMEDIATE … COMMIT, or ROLLBACK when the body raises."""
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.execute(
                "COMMIT"
            )  # fails while a reader of a rollback-journal store goes on reading
        except BaseException:
            with suppress(FluxHeroError):  # SQLite has rolled back already, after a full disk
                self.execute("ROLLBACK")
            raise

    @contextmanager
    def synced_at_the_end(self) -> Iterator[None]:
        """Let many commits reach the disk together, when the body ends, rather than each for itself.

        Only in WAL mode, where a power cut in between takes back the last of them and nothing else:
        for changes that are made again if they are taken back.
        """
        if self.value("PRAGMA journal_mode") != "wal":
            yield
            return
        before = self.value("PRAGMA synchronous")
        self.rows("PRAGMA synchronous = NORMAL")
        try:
            yield
        finally:
            self.rows(f"PRAGMA synchronous = {before}")
        log = self.path.with_name(f"{self.path.name}-wal")
        with storage_errors("write", log):
            if log.exists():
                sync_file(log)  # SQLite has no locks on it that closing it could drop

    @contextmanager
    def _translated(self, verb: str) -> Iterator[None]:
        try:
            yield
        except (adbc.Error, OSError) as error:  # OSError: of a result that is fetched as Arrow
            raise translate(error, verb, self.path) from error


_PROBE: dict[pa.DataType, str] = {pa.int64(): "0", pa.float64(): "0.0", pa.string(): "''"}


def translate(error: Exception, verb: str, path: Path) -> FluxHeroError:
    """Say what a driver error means for the store at `path`."""
    text = str(error)
    if any(sign in text for sign in _LOCKED):
        return StoreLockedError(
            f"could not {verb} {path}: another process holds its lock",
            next_step="nothing was changed; the step is tried again, or stop what holds the file",
        )
    if _NOT_SQLITE in text and (foreign := foreign_file(path, "sqlite")):
        return foreign
    if any(sign in text for sign in _DAMAGED):
        return DamagedStoreError(
            f"could not {verb} {path}: SQLite says it is damaged ({first_line(error)})",
            next_step="nothing was changed; stop the bot and recover the file from a backup",
        )
    return StorageIOError(
        f"could not {verb} {path}: {text}",
        next_step="check that the file and its folder are readable and writable and the disk has room",
    )


# In WAL mode an open read transaction keeps one snapshot: a writer neither waits nor, by writing, makes
# the copy begin again from its first page, as it would for ever in steps without one. In any other mode
# writers wait for a reader, so the copy is made in a single step.
_BACKUP = """
import sqlite3, sys
source = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True, timeout=60, isolation_level=None)
wal = source.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
if wal:
    source.execute("BEGIN")
    source.execute("SELECT count(*) FROM sqlite_master").fetchone()
target = sqlite3.connect(sys.argv[2])
source.backup(target, pages=2048 if wal else -1)
target.close(); source.close()
"""


def backup(source: Path, target: Path) -> None:
    """Copy a live database with SQLite's online backup, in a process of its own: whole or not at all.

    The copy holds all that the bot's file holds, its broker's keys too: only its owner may read it.

    Raises:
        StorageIOError: the copy could not be made.
    """
    partial = before_copied(target)
    with storage_errors("write", partial):
        partial.unlink(missing_ok=True)
        partial.touch(mode=0o600)
    done = subprocess.run(  # noqa: S603 - our own interpreter and a constant program
        [sys.executable, "-c", _BACKUP, quote(str(source)), str(partial)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        partial.unlink(missing_ok=True)
        raise StorageIOError(
            f"could not copy {source} to {target}: {' '.join(done.stderr.strip().splitlines()[-1:])}",
            next_step="nothing was changed; make room or mend permissions and run again",
        )
    with storage_errors("write", target):
        sync_file(partial)
        partial.replace(target)
        sync_folder(target.parent)
