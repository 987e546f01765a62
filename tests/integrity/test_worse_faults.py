"""What a disk, a clock or a person does to the checks' own files and to what they stand on; and rarer faults."""

import json
import os
import re
import shutil
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxhero.errors import SourceChangedError
from fluxhero.integrity.findings import State
from fluxhero.ledger.duckdb_store import DuckDBStore
from tests import samples
from tests.house import House
from tests.integrity import sound
from tests.integrity.test_faults import _house, data_file, faults, flip, manifests
from tests.samples import create_duckdb_store


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a sound ledger is that was checked once, and beside it a copy as it was then."""
    folder = tmp_path_factory.mktemp("worse")
    with pytest.MonkeyPatch.context() as patched:
        house = _house("duckdb", folder / "now", patched)
        create_duckdb_store(house.store)
        assert sound.sound_house(house).check().ok
    shutil.copytree(folder / "now", folder / "sound")
    return folder


@pytest.fixture
def installed(place: Path, clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    shutil.rmtree(place / "now")
    shutil.copytree(place / "sound", place / "now")
    return _house("duckdb", place / "now", monkeypatch)


def later(minutes: int) -> datetime:
    """When a check runs: findings are in the order of their runs."""
    return samples.AS_OF + timedelta(minutes=minutes)


def flip_unseen(path: Path) -> None:
    """As a disk does: neither size nor time tell."""
    before = path.stat()
    flip(path, 0.3)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_memory_of_time_to_come_hides_no_flipped_bit(installed: House) -> None:
    memory = installed.data / "integrity" / "passed.json"
    memory.write_text(re.sub(r'"at": ?"\d{4}', '"at":"2099', memory.read_text()))
    flip_unseen(data_file(installed))
    assert "files.sha256" in faults(installed.check(now=later(1)))


def test_a_flipped_bit_in_the_list_of_known_documents_speaks_against_none(installed: House) -> None:
    known = installed.data / "integrity" / "documents.json"
    whole = known.read_bytes()
    for place in (0.3, 0.5, 0.8):
        known.write_bytes(whole)
        flip(known, place)
        assert faults(installed.check(now=later(1))) == {}
    assert known.read_bytes() == whole


def test_damaged_waivers_hide_nothing_that_was_found(installed: House) -> None:
    data_file(installed).unlink()
    waivers = installed.data / "integrity" / "waivers.json"
    waivers.write_text("[{")
    found = faults(installed.check(now=later(1)))
    assert found["waivers.readable"] == {"integrity/waivers.json"}
    assert "files.present" in found
    waivers.unlink()
    waivers.mkdir()
    assert "waivers.readable" in faults(installed.check(now=later(2)))


def test_another_programs_file_among_the_findings_is_not_taken_for_a_run(installed: House) -> None:
    installed.execute("UPDATE trades SET stop_loss = NULL WHERE status = 'open'")
    assert "trades.stop-present" in faults(installed.check(now=later(1)))
    folder = installed.data / "findings"
    pq.write_table(pa.table({"mine": [1]}), folder / "zzz.parquet")
    report = installed.check(now=later(2))
    assert faults(report)["recorded.record"] == {"findings/zzz.parquet"}
    assert {(line.rule, line.state) for line in report.findings} >= {
        ("trades.stop-present", State.KNOWN)
    }


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("archive/archive.json", "archive.identity"),
        ("archive/holds.json", "holds.readable"),
        ("archive-head.json", "chain.head"),
    ],
)
def test_a_document_that_the_disk_refuses_to_read_hides_no_other_fault(
    installed: House, name: str, rule: str
) -> None:
    path = installed.data / name
    path.unlink(missing_ok=True)
    path.mkdir()  # reading it is an error of the operating system, for root too
    flip_unseen(data_file(installed))
    assert {rule, "files.sha256"} <= set(faults(installed.check(now=later(1), deep=True)))


def test_what_is_no_file_is_a_stray_too_and_stops_no_check(installed: House) -> None:
    folder = installed.archive_dir / "trades"
    (folder / "gone.txt").symlink_to("nowhere")
    os.mkfifo(folder / "pipe")
    os.mkfifo(folder / "pipe.parquet")
    (folder / "gone.parquet").symlink_to("nowhere")
    found = faults(installed.check(now=later(1)))
    assert found["files.stray"] == {"archive/trades/gone.txt", "archive/trades/pipe"}
    assert found["files.structure"] == {
        "archive/trades/pipe.parquet",
        "archive/trades/gone.parquet",
    }


def test_rows_of_a_store_that_is_gone_are_not_sound_and_their_faults_not_resolved(
    installed: House,
) -> None:
    installed.execute("UPDATE trades SET stop_loss = NULL WHERE status = 'open'")
    installed.check(now=later(1))
    aside = installed.store.rename(installed.store.with_name("aside"))
    for attempt in (2, 3):
        report = installed.check(now=later(attempt))
        states = {(line.rule, line.object): line.state for line in report.findings}
        assert State.RESOLVED not in states.values()
        assert {"store.sound", "trades.*", "ledger.*", "drift.*"} <= set(faults(report))
        installed.store.write_bytes(b"")  # as little left of it as nothing
    aside.rename(installed.store)
    report = installed.check(now=later(4))
    assert faults(report) == {"trades.stop-present": {"trades (hot)"}}
    assert {line.state for line in report.findings} == {State.KNOWN, State.RESOLVED}


def test_an_archive_that_is_gone_is_mended_whole_by_one_repair(installed: House) -> None:
    before = installed.look().archived
    shutil.rmtree(installed.archive_dir)
    report = installed.check(now=later(1), repair=True)
    assert (faults(report), installed.look().archived) == ({}, before)
    assert all(line.mended for line in report.repairs)
    assert faults(installed.check(now=later(2), deep=True)) == {}


def test_a_mirror_whose_list_is_damaged_still_mends_what_manifests_prove(installed: House) -> None:
    listing = installed.data.parent / "mirror" / "mirror.json"
    for gone in (False, True):
        listing.unlink() if gone else flip(listing, 0.5)
        flip(data_file(installed), 0.4)
        manifests(installed)[0].unlink()
        report = installed.check(now=later(1), repair=True)
        assert set(faults(report)) == {"mirror.complete"}
        (line,) = [line for line in report.repairs if not line.mended]
        assert "fluxhero archive" in line.what


def test_a_folder_in_a_files_place_does_not_keep_others_from_being_mended(
    installed: House,
) -> None:
    first = data_file(installed)
    first.unlink()
    first.mkdir()
    data_file(installed, 1).unlink()
    report = installed.check(now=later(1), repair=True)
    assert faults(report)["files.present"] == {str(first.relative_to(installed.data))}
    mended = {line.object: line.mended for line in report.repairs}
    assert sorted(mended.values()) == [False, True]


@pytest.mark.parametrize("times", [1, 9])
def test_rows_written_between_the_reading_of_two_tables_are_no_fault(
    installed: House, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """By another program: what the pipeline itself writes waits for the archive's lock."""
    load, left = DuckDBStore.load, list(range(times))

    def and_write(store: DuckDBStore, connection: Any, table: str, *given: Any) -> None:
        load(store, connection, table, *given)
        if table == "trades" and left and len(given) > 1:
            number = left.pop()
            installed.execute(
                f"INSERT INTO trades SELECT * REPLACE ('new-{number}' AS trade_id, '{number}x' AS source_id, "
                f"quantity + {number + 1} AS quantity, NULL AS stop_loss, 'cancelled' AS status, "
                "NULL AS exit_price, NULL AS exit_time, NULL AS realized_pnl) FROM trades WHERE status = 'open';"
                f"INSERT INTO orders SELECT * REPLACE ('new-{number}' AS order_id, 'new-{number}' AS trade_id, "
                f"'{number}y' AS source_id) FROM orders WHERE order_id = 'o-00092-in'"
            )

    monkeypatch.setattr(DuckDBStore, "load", and_write)
    if times == 1:
        assert "ledger.order-has-trade" not in faults(installed.check(now=later(1)))
    else:
        with pytest.raises(SourceChangedError, match="3 times"):
            installed.check(now=later(1))


def test_a_run_whose_clock_was_years_ahead_is_not_the_last_one_until_then(installed: House) -> None:
    assert not installed.check(now=samples.AS_OF + timedelta(days=900)).ok  # bars are stale by then
    installed.execute("UPDATE trades SET stop_loss = NULL WHERE status = 'open'")
    for minutes, state in ((1, State.NEW), (2, State.KNOWN)):
        report = installed.check(now=later(minutes))
        assert [(line.rule, line.state) for line in report.findings] == [
            ("trades.stop-present", state)
        ]


# What only a process of its own may lose: root reads every folder, unless it gives these up for good.
_NOT_ROOTS_EYES = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
_CHECK = """
import json, sys
from datetime import datetime
from pathlib import Path
from tests.house import House

house = House("duckdb", Path(sys.argv[1]), Path(sys.argv[2]))
report = house.check(now=datetime.fromisoformat(sys.argv[3]))
print(json.dumps([line.rule for line in report.findings if line.state.counts]))
"""


@pytest.mark.measured
def test_folders_that_may_not_be_looked_into_hide_no_other_fault(installed: House) -> None:
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("root reads every folder, and setpriv (of util-linux) is not here to hinder it")
    (installed.data / "integrity" / "waivers.json").write_text("[{")
    folders = {
        "data/archive/trades": "files.sha256",
        "mirror/trades": "mirror.complete",
        "data/cache": "recorded.structure",
    }
    closed = [installed.data.parent / name for name in folders]
    command = [sys.executable, "-c", _CHECK, str(installed.data), str(installed.store)]
    if os.geteuid() == 0:
        command = [*_NOT_ROOTS_EYES, *command]
    for folder in closed:
        folder.chmod(0)
    try:
        ended = subprocess.run(
            [*command, later(1).isoformat()],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parent.parent.parent,
            check=True,
        )
    finally:
        for folder in closed:
            folder.chmod(0o700)
    rules = set(json.loads(ended.stdout))
    for rule in folders.values():
        assert {rule.partition(".")[0] + ".*", rule} & rules
    assert "waivers.readable" in rules


@pytest.mark.parametrize("number", ["1", "2"])
def test_an_event_that_is_there_twice_is_found_and_taken_away_for_good(
    installed: House, monkeypatch: pytest.MonkeyPatch, number: str
) -> None:
    monkeypatch.delenv("FLUXHERO_ARCHIVE_MIRROR_DIR")
    installed.restore(trade_ids=["t-00003"])
    (event,) = (installed.archive_dir / "manifests").glob("*.restored-1.json")
    name = event.name.replace("restored-1", f"restored-{number}x").replace("2x", "2")
    copy = Path(shutil.copy(event, event.with_name(name)))
    found = faults(installed.check(now=later(1)))
    assert found == {"chain.events": {str(copy.relative_to(installed.data))}}
    assert faults(installed.check(now=later(2), repair=True)) == {}
    assert (event.exists(), copy.exists()) == (True, False)
