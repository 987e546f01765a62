"""One run at a time, and who it is."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fluxhero.archive.layout import Layout
from fluxhero.archive.lock import archive_lock
from fluxhero.errors import AlreadyRunningError, ForeignStoreError
from tests.house import House

REPOSITORY = Path(__file__).parents[2]
_HOLDER = """
import sys, time
from pathlib import Path
from fluxhero.archive.layout import Layout
from fluxhero.archive.lock import archive_lock
with archive_lock(Layout(Path(sys.argv[1])), "the nightly run"):
    print("holding", flush=True)
    time.sleep(60)
"""


@contextmanager
def held_elsewhere(archive: Path) -> Iterator[int]:
    """Another process holds the archive; its process id."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(archive)],
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "holding\n"
        yield process.pid
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_the_second_run_says_who_holds_the_archive(house: House) -> None:
    house.add(1)
    with held_elsewhere(house.archive_dir) as holder:
        for run in (house.archive, lambda: house.restore(trade_ids=[house.key(1)])):
            with pytest.raises(AlreadyRunningError) as caught:
                run()
            assert f"the nightly run (process {holder} on " in caught.value.what
            assert str(house.archive_dir) in caught.value.what
            assert caught.value.exit_status == 3
        os.kill(holder, signal.SIGKILL)
        os.waitpid(holder, 0)
        assert house.archive().purged == 1, "the lock dies with its holder"


@pytest.mark.parametrize("dry_run", [True, False])
def test_where_there_is_no_store_no_archive_is_begun(house: House, dry_run: bool) -> None:
    house.store.unlink()
    before = sorted(house.data.parent.rglob("*"))
    with pytest.raises(ForeignStoreError, match=r"there is no store|no SQLite database"):
        house.archive(dry_run=dry_run)
    assert sorted(house.data.parent.rglob("*")) == before


def test_a_dry_run_makes_no_archive_and_waits_for_whoever_has_one(house: House) -> None:
    house.add(1)
    assert house.archive(dry_run=True).rows == 1
    assert not house.archive_dir.exists()
    with held_elsewhere(house.archive_dir), pytest.raises(AlreadyRunningError):
        house.archive(dry_run=True)


def test_the_lock_is_given_back_by_a_run_that_fails(house: House) -> None:
    with pytest.raises(RuntimeError), archive_lock(house.workspace.layout, "first"):
        raise RuntimeError
    with archive_lock(house.workspace.layout, "second"):
        assert "second" in house.workspace.layout.lock_holder.read_text()
    assert not house.workspace.layout.lock_holder.exists()


def test_two_archives_do_not_hinder_each_other(tmp_path: Path) -> None:
    with archive_lock(Layout(tmp_path / "a"), "a"), archive_lock(Layout(tmp_path / "b"), "b"):
        pass
