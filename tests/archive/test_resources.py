"""Real processes and real file systems at fault: full, read-only, locked, cut short, foreign, busy."""

import errno
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fluxhero.errors import (
    DamagedStoreError,
    FluxHeroError,
    ForeignStoreError,
    StorageIOError,
    StoreLockedError,
)
from tests import evidence, samples
from tests.house import House

# ------------------------------------------------------------------------------------- file systems


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[None]:
    """A small file system of its own; skips where this user may not mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("needs root, to mount a small file system")
    done = subprocess.run([mount, *options], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount a small file system here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def test_a_full_disk_stops_the_run_and_loses_nothing(house: House) -> None:
    house.add(*range(1, 200))
    house.edit_all("signal_reason = repeat('x', 0)" if house.kind == "duckdb" else "regime = ''")
    before = house.look().view
    with mounted(house.archive_dir, "64k"):
        filler = house.archive_dir / "filler"
        _fill(filler, leave=12 * 1024)
        with pytest.raises(StorageIOError) as caught:
            house.archive()
        assert str(house.archive_dir) in caught.value.what
        assert "space" in caught.value.what
        assert "make room" in caught.value.next_step
        assert caught.value.exit_status == 3
        assert len(house.look_hot) == 199
        remount(house.archive_dir, "size=4m")
        assert house.archive().purged == 199
        assert house.look().view == before
        assert evidence.problems_of_archive(house.archive_dir) == []


def _fill(path: Path, leave: int) -> None:
    """Write until only so many bytes are left on the disk."""
    with path.open("wb") as file:
        while (free := os.statvfs(path.parent).f_bavail * os.statvfs(path.parent).f_bsize) > leave:
            file.write(b"\0" * min(4096, free - leave))
            file.flush()


def test_a_file_size_limit_stops_the_run_too(house: House) -> None:
    """What a quota does, without root: the process may not write a file beyond some bytes."""
    import resource

    house.add(*range(1, 200))
    before = house.look().hot
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    from unittest.mock import patch

    from fluxhero.archive.files import write_file

    def limited(*args: Any) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
        try:
            write_file(*args)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    with (
        patch("fluxhero.archive.batches.write_file", limited),
        pytest.raises(StorageIOError) as caught,
    ):
        house.archive()
    assert ".staging" in caught.value.what
    assert house.look_hot == before
    assert house.archive().purged == 199


def test_a_read_only_archive_stops_the_run_and_can_still_be_read(house: House) -> None:
    house.add(1)
    with mounted(house.archive_dir, "4m"):
        house.archive()
        house.add(2)
        before = house.look().view
        remount(house.archive_dir, "ro")
        for run in (house.archive, lambda: house.restore(trade_ids=[house.key(1)])):
            with pytest.raises(StorageIOError) as caught:
                run()
            assert str(house.archive_dir) in caught.value.what
            assert "writable" in caught.value.next_step
        assert house.look().view == before
        from fluxhero.ledger.view import open_view

        with open_view(house.workspace, ["trades"]) as view:
            assert view.execute("SELECT count(*) FROM trades").fetchone() == (2,)
        remount(house.archive_dir, "rw")
        assert house.archive().purged == 1


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP, errno.EXDEV])
def test_a_file_system_without_links_gets_copies(
    house: House, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_paths: Path) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    house.add(1, 2)
    before = house.look().view
    assert house.archive().purged == 2
    assert house.look().view == before
    assert evidence.problems_of_archive(house.archive_dir) == []


def test_a_copy_that_fails_halfway_leaves_its_name_free(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_paths: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    calls: list[int] = []
    fsync = os.fsync

    def fail_once(descriptor: int) -> None:
        target = Path(f"/proc/self/fd/{descriptor}").readlink()
        if target.suffix == ".parquet" and not calls:
            calls.append(descriptor)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    house.add(1, 2)
    before = house.look().view
    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(os, "fsync", fail_once)
    with pytest.raises(StorageIOError, match="publish"):
        house.archive()
    assert calls
    assert not list(house.archive_dir.rglob("*.parquet"))
    assert house.archive().purged == 2
    assert house.look().view == before


# ------------------------------------------------------------------------------------------ locks

_LOCKER = {
    "duckdb": "import duckdb, sys, time\ndb = duckdb.connect(sys.argv[1])\nprint('locked', flush=True)\n"
    "time.sleep(float(sys.argv[2]))\ndb.close()",
    "sqlite": "import sqlite3, sys, time\ndb = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
    "db.execute('BEGIN EXCLUSIVE')\nprint('locked', flush=True)\ntime.sleep(float(sys.argv[2]))\n"
    "db.execute('COMMIT')\ndb.close()",
    "sqlite reader": "import sqlite3, sys, time\ndb = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
    "db.execute('BEGIN')\ndb.execute('SELECT count(*) FROM live_trades').fetchone()\n"
    "print('locked', flush=True)\ntime.sleep(float(sys.argv[2]))\ndb.execute('COMMIT')\ndb.close()",
}


@contextmanager
def locked(program: str, path: Path, seconds: float) -> Iterator[None]:
    """Another process has the store for some seconds."""
    process = subprocess.Popen(
        [sys.executable, "-c", _LOCKER[program], str(path), str(seconds)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "locked\n"
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_locked_store_is_waited_for(house: House) -> None:
    house.add(1, 2)
    with locked(house.kind, house.store, 2.0):
        began = time.monotonic()
        assert house.archive().purged == 2
        assert time.monotonic() - began > 1


def test_a_lock_that_outlasts_the_wait_is_named(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUXHERO_LOCK_TIMEOUT_SECONDS", "0.3")
    house.add(1)
    with locked(house.kind, house.store, 60), pytest.raises(StoreLockedError) as caught:
        house.archive()
    assert str(house.store) in caught.value.what
    assert "another process" in caught.value.what
    assert caught.value.exit_status == 3
    house.archive()
    assert house.hot == set()


def test_a_long_reader_of_a_rollback_journal_delays_the_purge_and_breaks_nothing(
    sqlite_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """COMMIT fails while it reads; the transaction must not stay open on the kept connection."""
    monkeypatch.setenv("FLUXHERO_LOCK_TIMEOUT_SECONDS", "0.3")
    house = sqlite_house
    house.store.unlink()
    samples.create_fluxhero_store(house.store, wal=False)
    house.add(*range(1, 20))
    before = house.look().view
    workspace = house.workspace
    house.archive(purge=False)
    (manifest,) = house.chain.manifests
    file = workspace.archived_file(manifest)

    def progress(_done: int, _all: int | None) -> None:
        """Nobody listens."""

    with locked("sqlite reader", house.store, 60), pytest.raises(StoreLockedError):
        workspace.store.purge([file], {}, progress)
    assert house.look().view == before
    (outcome,) = workspace.store.purge([file], {}, progress)  # on the same connection
    workspace.store.close()
    assert outcome.purged == 19
    assert house.look().view == before


# ----------------------------------------------------------------------------------- bad store files


@pytest.mark.parametrize("left", [0.0, 0.3, 0.6])
def test_a_store_cut_short_is_named(house: House, left: float) -> None:
    house.add(*range(1, 400))
    house.archive(limit=1)
    whole = house.store.read_bytes()
    house.store.write_bytes(whole[: int(len(whole) * left)])
    with pytest.raises(FluxHeroError) as caught:
        house.archive()
    assert isinstance(caught.value, DamagedStoreError | ForeignStoreError), repr(caught.value)
    assert str(house.store) in caught.value.what
    assert caught.value.next_step
    house.store.write_bytes(whole)
    for name in ("-wal", "-shm"):
        house.store.with_name(house.store.name + name).unlink(missing_ok=True)
    assert house.archive().purged == 398


def test_a_file_that_is_no_store_is_not_called_damaged(house: House) -> None:
    content = b"# A page of text\n" * 1000
    house.store.write_bytes(content)
    with pytest.raises(ForeignStoreError) as caught:
        house.archive()
    kind = "SQLite" if house.kind == "sqlite" else "DuckDB"
    assert caught.value.what == f"{house.store} is no {kind} database"
    assert caught.value.next_step.startswith("check FLUXHERO_STORE_URL; if this is")
    assert house.store.read_bytes() == content


def test_a_store_that_begins_as_one_and_goes_on_otherwise_is_damaged(house: House) -> None:
    beginning = house.store.read_bytes()[:16]
    house.store.write_bytes(beginning + b"# A page of text\n" * 1000)
    with pytest.raises(DamagedStoreError) as caught:
        house.archive()
    assert "SELECT" not in caught.value.what, "SQL of ours means nothing to the reader"


def test_a_file_that_is_no_database_is_named(house: House) -> None:
    house.store.write_bytes(b"trades,go,here\n" * 1000)
    with pytest.raises(FluxHeroError) as caught:
        house.archive()
    assert str(house.store) in caught.value.what
    assert house.store.read_bytes().startswith(b"trades,go,here"), "it was not touched"


def test_somebody_elses_database_is_refused(house: House) -> None:
    house.store.unlink()
    house.execute("CREATE TABLE customers (id INTEGER)")
    content = house.store.read_bytes()
    with pytest.raises(ForeignStoreError) as caught:
        house.archive()
    assert str(house.store) in caught.value.what
    assert "customers" in caught.value.what
    assert caught.value.exit_status == 2
    assert house.store.read_bytes() == content


def test_a_fluxhero_store_that_lacks_a_column_is_refused(sqlite_house: House) -> None:
    sqlite_house.execute("ALTER TABLE live_trades DROP COLUMN exit_time")
    with pytest.raises(ForeignStoreError, match="live_trades has no column exit_time"):
        sqlite_house.archive()


def test_a_store_that_is_not_there_is_not_made(house: House) -> None:
    house.store.unlink()
    with pytest.raises(ForeignStoreError) as caught:
        house.archive()
    assert str(house.store) in caught.value.what
    assert not house.store.exists()


# ---------------------------------------------------------------------------------------- busy store

_WRITER = """
import json, sqlite3, sys, time
from tests import samples
db = sqlite3.connect(sys.argv[1], timeout=5, isolation_level=None)
waits, failed, number = [], 0, 1_000_000
print("writing", flush=True)
end = time.monotonic() + 60
while time.monotonic() < end:
    number += 1
    row = samples.fluxhero_trade(number % 900_000 + 100_000, status=0)
    began = time.monotonic()
    try:
        db.execute(f"INSERT INTO live_trades ({', '.join(row)}) VALUES ({','.join('?' * len(row))})",
                   list(row.values()))
    except sqlite3.Error as error:
        failed += 1
        print(error, file=sys.stderr)
    waits.append(time.monotonic() - began)
    if sys.stdin.closed or __import__("select").select([sys.stdin], [], [], 0.005)[0]:
        break
print(json.dumps({"waits": waits, "failed": failed}))
"""


@pytest.mark.parametrize("wal", [True, False], ids=["wal", "rollback journal"])
def test_a_live_writer_is_never_refused(sqlite_house: House, *, wal: bool) -> None:
    house = sqlite_house
    house.store.unlink()
    samples.create_fluxhero_store(house.store, wal=wal)
    house.add(*range(1, 4001))
    before = house.look().view
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(house.store)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    report = house.archive()
    said, _ = process.communicate("stop\n", timeout=30)
    import json

    figures = json.loads(said)
    waits = sorted(figures["waits"])
    p999 = 1000 * waits[int(len(waits) * 0.999)]
    sys.stdout.write(f"{len(waits)} inserts, 99.9th percentile wait {p999:.1f} ms (see with -rP)\n")
    assert figures["failed"] == 0
    assert report.purged == 4000
    found = house.look()
    assert before.items() <= found.view.items()
    assert len(found.hot) == len(waits), "every insert is there"
