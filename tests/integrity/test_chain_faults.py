"""Faults of the chain of manifests that take more than one change to plant, and disks that refuse."""

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import pytest

from fluxhero.archive.identity import HEAD_FILE, Head
from fluxhero.archive.manifest import read_event, read_manifest
from fluxhero.integrity.documents import KNOWN_FILE
from fluxhero.integrity.repair_log import read_log
from fluxhero.integrity.results import Outcome
from tests import samples
from tests.archive.conftest import make_house
from tests.integrity.archives import Archive, put_back
from tests.integrity.test_scrub import flip_in_text


@pytest.fixture
def archive(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    return put_back("duckdb", monkeypatch)


@pytest.fixture
def copied(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """Three batches that nothing was purged of, so that no event names a manifest."""
    house = make_house("duckdb", clean_environment, monkeypatch)
    samples.create_duckdb_store(house.store)
    for number in (1, 2, 3):
        house.add(number)
        house.archive(purge=False)
    return Archive(house)


@contextmanager
def unreadable(path: Path) -> Iterator[None]:
    """A disk that cannot read one file."""
    read, opened = Path.read_bytes, Path.open

    def refuse_read(self: Path) -> bytes:
        if self == path:
            raise OSError(errno.EIO, "Input/output error", str(path))
        return read(self)

    def refuse_open(self: Path, *args: str, **kwargs: str) -> object:
        if self == path:
            raise OSError(errno.EIO, "Input/output error", str(path))
        return opened(self, *args, **kwargs)  # type: ignore[call-overload]

    with patch.object(Path, "read_bytes", refuse_read), patch.object(Path, "open", refuse_open):
        yield


def test_a_manifest_put_in_is_found_and_taken_out(archive: Archive) -> None:
    real = read_manifest(archive.manifest(1))
    batch = f"{real.batch_id[:-8]}00000000"
    path = archive.manifest(1).with_name(f"{batch}.json")
    path.write_bytes(real.model_copy(update={"batch_id": batch}).to_bytes())
    assert archive.faults() == {"chain.complete": {path.name}}
    assert [repair.ok for repair in archive.mend()] == [True]
    assert (path.exists(), archive.faults()) == (False, {})


def test_a_manifest_of_no_batch_is_no_document(archive: Archive) -> None:
    path = archive.manifest(1).with_name("mine.json")
    path.write_bytes(
        read_manifest(archive.manifest(1)).model_copy(update={"batch_id": "mine"}).to_bytes()
    )
    assert archive.faults() == {"chain.readable": {"mine.json"}}


def test_a_run_killed_before_it_remembered_its_batch_is_no_fault(archive: Archive) -> None:
    archive.house.add(20)
    archive.house.archive(purge=False)
    manifests = archive.manifests
    head = Head(
        archive=str(archive.root), batches=3, manifest_sha256=manifests[2].sha256
    ).model_dump_json()
    (archive.house.data / HEAD_FILE).write_text(head)
    assert archive.faults() == {}


def test_a_lost_manifest_that_no_event_names_is_known_by_its_data_file(copied: Archive) -> None:
    lost, data = copied.manifest(1), copied.data_file(1)
    lost.unlink()
    (data.parent / "mine.parquet").write_bytes(data.read_bytes())
    assert copied.faults() == {
        "chain.complete": {lost.name},
        "files.unnamed": {"mine.parquet"},
    }
    assert all(repair.ok for repair in copied.mend())
    assert (lost.exists(), copied.faults()) == (True, {})


def test_a_lost_manifest_that_nothing_tells_of_is_reported_where_the_chain_breaks(
    copied: Archive,
) -> None:
    copied.manifest(1).unlink()
    copied.data_file(1).unlink()
    assert copied.faults() == {"chain.complete": {copied.manifest(1).name}}
    assert [repair.ok for repair in copied.mend()] == [False]


def test_a_manifest_edited_before_a_damaged_one_is_found_by_its_event(archive: Archive) -> None:
    flip_in_text(archive.manifest(0), '"rows": 5', '"rows": 7')
    archive.manifest(1).write_text("{")
    (archive.house.data / HEAD_FILE).unlink()
    assert archive.faults()["chain.readable"] == {
        archive.manifest(0).name,
        archive.manifest(1).name,
    }


def test_an_event_of_another_manifest_is_kept_and_told(archive: Archive) -> None:
    event = archive.event("purged")
    other = read_event(event).model_copy(update={"manifest_sha256": "e" * 64})
    event.write_bytes(other.sealed().to_bytes())
    assert archive.faults()["chain.events"] == {event.name}
    assert [repair.ok for repair in archive.mend()] == [False]
    assert event.exists()


def test_more_rows_purged_than_there_were_are_told(archive: Archive) -> None:
    event = archive.event("purged")
    event.write_bytes(read_event(event).model_copy(update={"rows": 99}).sealed().to_bytes())
    (fault,) = [r for r in archive.check() if r.outcome is not Outcome.PASSED and r.file == event]
    assert "98 more rows purged than restored, of 5" in fault.observed


def test_manifests_of_another_store_are_told(archive: Archive) -> None:
    archive.house.execute("UPDATE fluxhero_meta SET value = 'mine' WHERE key = 'store_id'")
    assert archive.faults() == {"archive.identity": {"archive.json"}}
    path = archive.root / "archive.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"store_id": "mine"}))
    (fault,) = [r for r in archive.check() if r.outcome is not Outcome.PASSED]
    assert "3 manifests of another store" in fault.observed
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 9}))
    (fault,) = [r for r in archive.check() if r.outcome is not Outcome.PASSED]
    assert fault.outcome is Outcome.ERRORED


def test_an_identity_that_nobody_can_vouch_for_is_not_made_up(archive: Archive) -> None:
    (archive.root / "archive.json").write_text("{")
    archive.house.store.unlink()
    done = archive.mend()
    assert {repair.ok for repair in done} == {False}
    assert any("there is no store" in repair.action for repair in done)
    assert read_log(archive.scope().home) == []


def test_what_a_disk_cannot_read_cannot_be_told_and_hides_nothing(archive: Archive) -> None:
    archive.data_file(2).unlink()
    for path, rule in (
        (archive.manifest(0), "chain.readable"),
        (archive.data_file(0), "files.structure"),
    ):
        with unreadable(path):
            results = [r for r in archive.check() if r.outcome is not Outcome.PASSED]
        told = {(r.rule.name, r.outcome) for r in results}
        assert told == {(rule, Outcome.ERRORED), ("files.present", Outcome.FAILED)}


def test_a_damaged_list_of_known_documents_is_begun_anew(archive: Archive) -> None:
    archive.check()
    (archive.scope().home / KNOWN_FILE).write_text("{")
    assert archive.faults() == {}
    event = archive.event("restored")
    event.unlink()
    assert archive.faults() == {"chain.events": {event.name}}
