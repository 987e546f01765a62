"""The whole sample, archived and restored: every value comes back as it was."""

from tests import evidence
from tests.house import House
from tests.samples import CANARY, Sample


def test_everything_due_moves_and_nothing_changes(sample_house: tuple[House, Sample]) -> None:
    house, sample = sample_house
    before = house.look().view
    report = house.archive()
    found = house.look()
    assert found.view == before
    assert found.hot.keys() == sample.staying
    assert found.archived.keys() == sample.due
    assert report.purged == len(sample.due)
    assert not report.refused
    assert evidence.problems_of_archive(house.archive_dir) == []
    assert not house.chain.unpurged()


def test_a_second_run_does_nothing(sample_house: tuple[House, Sample]) -> None:
    house, _ = sample_house
    house.archive()
    batches = len(house.chain)
    report = house.archive()
    assert (report.purged, report.batches, len(house.chain)) == (0, (), batches)


def test_restoring_every_batch_gives_back_the_very_store(
    sample_house: tuple[House, Sample],
) -> None:
    house, _ = sample_house
    exact = _exact(house)
    house.archive()
    assert _exact(house) != exact
    for manifest in house.chain.manifests:
        house.restore(batch_id=manifest.batch_id)
    assert _exact(house) == exact
    assert house.archive().purged == 0, "restored rows are on hold"


def test_secrets_of_the_bot_reach_no_file_of_ours_but_the_copy(
    sample_house: tuple[House, Sample],
) -> None:
    house, _ = sample_house
    report = house.archive()
    holding = [
        p for p in house.data.rglob("*") if p.is_file() and CANARY.encode() in p.read_bytes()
    ]
    if house.kind == "duckdb":
        assert holding == []
        return
    (copy,) = holding
    assert str(copy) == report.store_copy
    assert copy.stat().st_mode & 0o077 == 0, "only its owner may read the copy"
    assert copy.parent.stat().st_mode & 0o077 == 0


def _exact(house: House) -> object:
    if house.kind == "duckdb":
        return house.look().hot
    return {table: evidence.storage_classes(house.store, table) for table in evidence.SQLITE_TABLES}
