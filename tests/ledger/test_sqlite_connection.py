"""How hard a connection to the bot's file waits for the disk."""

from pathlib import Path

import adbc_driver_sqlite.dbapi as adbc
import pytest

from fluxhero.ledger import sqlite_connection
from fluxhero.ledger.sqlite_connection import SqliteConnection

NORMAL, FULL = 1, 2  # SQLite's values of PRAGMA synchronous


def database(folder: Path, journal: str) -> Path:
    path = folder / "system.db"
    with adbc.connect(f"file:{path}", autocommit=True) as made, made.cursor() as cursor:
        cursor.execute(f"PRAGMA journal_mode = {journal}")
        cursor.fetchall()
        cursor.adbc_statement.set_sql_query("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        cursor.adbc_statement.execute_update()
    return path


@pytest.mark.parametrize(("journal", "inside"), [("wal", NORMAL), ("delete", FULL)])
def test_many_commits_are_waited_for_once_where_that_is_safe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, journal: str, inside: int
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(sqlite_connection, "sync_file", synced.append)
    path = database(tmp_path, journal)
    with SqliteConnection(path, read_only=False, busy_timeout=1) as connection:
        with connection.synced_at_the_end():
            assert connection.value("PRAGMA synchronous") == inside
            connection.execute("INSERT INTO t VALUES (1)")
            assert synced == []
        assert connection.value("PRAGMA synchronous") == FULL
        assert connection.value("PRAGMA journal_mode") == journal
    assert synced == ([path.with_name("system.db-wal")] if journal == "wal" else [])


def test_after_a_failure_every_commit_is_waited_for_again(tmp_path: Path) -> None:
    with SqliteConnection(database(tmp_path, "wal"), read_only=False, busy_timeout=1) as connection:
        with pytest.raises(RuntimeError, match="stop"), connection.synced_at_the_end():
            raise RuntimeError("stop")
        assert connection.value("PRAGMA synchronous") == FULL
