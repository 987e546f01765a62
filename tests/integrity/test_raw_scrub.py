"""Kept exports: each is what it is called, and none that a row names is gone."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fluxhero.durable import sha256
from fluxhero.errors import StoreLockedError
from fluxhero.integrity.passed import Passed
from fluxhero.integrity.raw_scrub import PRESENT, SHA256, scrub_raw
from fluxhero.integrity.results import Outcome, Result
from fluxhero.ledger.raw_files import keep_raw
from tests import samples
from tests.house import House
from tests.integrity import planted
from tests.integrity.planted import scope_of


@pytest.fixture
def house(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """A ledger with a fill and a flow of cash, each of a kept export of its own."""
    house = planted.house_of("duckdb", clean_environment, monkeypatch)
    for number, (table, row) in enumerate(
        (("fills", planted.fill(1)), ("cash_flows", planted.cash_flow(1)))
    ):
        export = clean_environment / f"export-{number}.json"
        export.write_text(f"[{number}]")
        kept = keep_raw(export, house.data / "imports", work=clean_environment)
        samples.insert_duckdb(house.store, table, row | {"source_id": f"{kept.label}:2.17"})
    other = planted.fill(2, source_id="mine.csv:3")  # of no export that is kept
    samples.insert_duckdb(house.store, "fills", other, planted.fill(3))
    return house


@pytest.fixture
def scrub(house: House, tmp_path: Path) -> Callable[..., dict[str, Result]]:
    def run(*, deep: bool = True) -> dict[str, Result]:
        memory = Passed(tmp_path / "memory.json")
        results = scrub_raw(scope_of(house, deep=deep), memory)
        memory.save()
        worst = sorted(results, key=lambda one: one.outcome is not Outcome.PASSED)
        return {one.rule.name: one for one in worst}

    return run


def exports(house: House) -> list[Path]:
    return sorted((house.data / "imports").glob("*.json"))


def test_sound_exports(house: House, scrub: Callable[..., dict[str, Result]]) -> None:
    assert {one.outcome for one in scrub().values()} == {Outcome.PASSED}
    assert scrub()[PRESENT.name].checked == 2
    assert scrub(deep=False)[SHA256.name].checked == 0, "read just now"


def test_an_edited_export(house: House, scrub: Callable[..., dict[str, Result]]) -> None:
    scrub()
    exports(house)[0].write_text("[7]")
    found = scrub()
    assert found[SHA256.name].outcome is Outcome.FAILED
    assert found[SHA256.name].object == f"imports/{exports(house)[0].name}"
    assert sha256(exports(house)[0]) in found[SHA256.name].observed
    assert found[PRESENT.name].outcome is Outcome.PASSED


def test_an_export_that_is_gone(house: House, scrub: Callable[..., dict[str, Result]]) -> None:
    gone = exports(house)[1]
    gone.unlink()
    found = scrub()[PRESENT.name]
    assert (found.outcome, found.keys) == (Outcome.FAILED, (f"sha256:{gone.name[:16]}",))


def test_without_a_store_that_can_be_read_nothing_is_claimed(
    house: House, scrub: Callable[..., dict[str, Result]], monkeypatch: pytest.MonkeyPatch
) -> None:
    house.store.write_bytes(b"no database at all" * 1000)
    assert scrub()[PRESENT.name].outcome is Outcome.ERRORED

    def locked(*_args: object) -> None:
        raise StoreLockedError("held", next_step="wait")

    monkeypatch.setattr("fluxhero.ledger.duckdb_store.DuckDBStore.load", locked)
    with pytest.raises(StoreLockedError):
        scrub()
