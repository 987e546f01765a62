"""A staged file that a disk changed: whatever bit it is, the error is ours and says what was read."""

from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxhero.archive.files import compare, read_back, write_file
from fluxhero.archive.layout import partition_of
from fluxhero.errors import DamagedFileError, StorageIOError, VerificationError
from fluxhero.ledger.duckdb_file import translate
from fluxhero.ledger.rows import archive_schema
from fluxhero.ledger.sqlite_meaning import key_range_sql
from fluxhero.ledger.sqlite_schema import OWN_SCHEMA
from tests.house import House


def archived(house: House) -> Path:
    """A small archived file of rows that are still hot."""
    house.add(1, 2, 3)
    house.archive(purge=False)
    (manifest,) = house.chain.manifests
    return house.archive_dir / manifest.file.path


def test_any_flipped_bit_is_damage_or_changes_nothing(house: House, tmp_path: Path) -> None:
    path = archived(house)
    store = house.workspace.store
    (manifest,) = house.chain.manifests
    sound = path.read_bytes()
    own, keys = store.own_schema(manifest.table), store.key_range_sql(manifest.table)
    facts = read_back(path, own, keys)
    copy = tmp_path / "copy.parquet"
    refused: list[str] = []
    for place in range(0, len(sound), 23):
        damaged = bytearray(sound)
        damaged[place] ^= 1 << (place % 8)
        copy.write_bytes(damaged)
        try:
            found = read_back(copy, own, keys)
            partition = partition_of(manifest.batch_id)
            compare(store, found.archived_file("copy", copy, partition, manifest.cutoff))
        except (DamagedFileError, VerificationError, StorageIOError) as error:
            refused.append(str(error))
        else:
            assert (found.rows, found.digest) == (facts.rows, facts.digest)
            assert found.sha256 != facts.sha256
    store.close()
    assert len(refused) > 100
    assert [text for text in refused if str(copy) not in text and str(store.path) not in text] == []


def test_a_damaged_parquet_file_is_not_taken_for_a_damaged_store(tmp_path: Path) -> None:
    error = duckdb.InvalidInputException(
        "Invalid Input Error: Parquet metadata is corrupt. Column has 2 values but row group has 3 rows"
    )
    found = translate(error, tmp_path / "ledger.duckdb")
    assert type(found) is DamagedFileError
    assert "the store itself is not affected" in str(found)


def test_rows_that_do_not_have_their_own_hash_are_refused(
    sqlite_house: House, tmp_path: Path
) -> None:
    rows = pq.read_table(archived(sqlite_house), partitioning=None)
    place = rows.schema.get_field_index("shares")
    altered = rows.set_column(place, rows.schema.field(place), pa.array([1.0, 1.0, 1.0]))
    copy = tmp_path / "copy.parquet"
    write_file(copy, altered, {"made_at": datetime.now(UTC).isoformat()})
    with pytest.raises(VerificationError, match="3 of 3 rows do not have the hash"):
        read_back(copy, OWN_SCHEMA, key_range_sql())
    assert altered.schema.remove_metadata() == archive_schema(OWN_SCHEMA)
