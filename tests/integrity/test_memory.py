"""What passed before is remembered by file, version and time; and files carry their record."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxhero.durable import sha256
from fluxhero.errors import DamagedFileError, StorageIOError
from fluxhero.integrity.passed import Passed, Stamp
from fluxhero.recorded import read_record, record_path, write_recorded

AT = datetime(2026, 3, 2, tzinfo=UTC)
ROWS = pa.table({"a": [1, 2, 3]})


def test_a_file_passed_until_it_is_touched_or_the_version_changes(tmp_path: Path) -> None:
    path, memory = tmp_path / "x", tmp_path / "home" / "passed.json"
    path.write_text("content")
    first = Passed(memory)
    assert first.at("bytes", path) is None
    first.record("bytes", path, Stamp.of(path), AT, "v1")
    first.record("bytes", tmp_path / "gone", Stamp(1, 1), AT)
    first.save()
    again = Passed(memory)
    assert again.at("bytes", path, "v1") == AT
    assert again.at("bytes", path, "v2") is None
    assert again.at("values", path, "v1") is None
    assert "gone" not in memory.read_text()
    again.forget(path)
    assert again.at("bytes", path, "v1") is None
    path.write_text("Content!")
    assert Passed(memory).at("bytes", path, "v1") is None
    path.unlink()
    assert Passed(memory).at("bytes", path, "v1") is None
    with pytest.raises(StorageIOError, match="could not look at"):
        Stamp.of(path)


def test_without_a_readable_memory_everything_is_checked_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    memory = tmp_path / "passed.json"
    memory.write_text('{"checks": [')
    assert Passed(memory).at("bytes", tmp_path) is None
    assert "everything is checked again" in caplog.text


def test_a_recorded_file_is_known_by_its_record(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "rows.parquet"
    assert read_record(path) is None
    record = write_recorded(path, ROWS, AT)
    assert read_record(path) == record
    assert record.contents.sha256 == sha256(path)
    assert (record.contents.rows, record.contents.columns) == (3, {"a": "int64"})
    assert pq.read_table(path).equals(ROWS)
    first = path.read_bytes()
    after = write_recorded(path, ROWS.slice(1), AT)
    assert after.knows(sha256(path))
    path.write_bytes(first)
    assert not after.knows(sha256(path)), "an older version of itself is not the file"
    record_path(path).write_text("{}")
    with pytest.raises(DamagedFileError, match="is damaged"):
        read_record(path)


WRITER = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
import pyarrow as pa
from fluxhero import recorded
step = int(sys.argv[2]); made = [0]
def stop(function):
    def counted(*args, **kwargs):
        if made[0] == step: os.kill(os.getpid(), signal.SIGKILL)
        made[0] += 1
        return function(*args, **kwargs)
    return counted
for name in ("sync_file", "sync_folder", "write_atomically"):
    setattr(recorded, name, stop(getattr(recorded, name)))
recorded.write_recorded(Path(sys.argv[1]), pa.table({"a": [4, 5]}), datetime.now(UTC))
"""


@pytest.mark.parametrize("step", range(5))
@pytest.mark.parametrize("there", [True, False])
def test_a_killed_writer_leaves_a_file_that_its_record_knows(
    tmp_path: Path, step: int, there: bool
) -> None:
    path = tmp_path / "rows.parquet"
    if there:
        write_recorded(path, ROWS, AT)
    ended = subprocess.run([sys.executable, "-c", WRITER, str(path), str(step)], check=False)
    assert ended.returncode == (-9 if step < 4 else 0)
    record = read_record(path)
    if path.exists():
        assert record is not None
        assert record.knows(sha256(path))
    else:
        assert not there
        assert record is None or record.writing
    write_recorded(path, ROWS, AT)
    assert pq.read_table(path).equals(ROWS)
