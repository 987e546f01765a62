"""Faults planted in a real archive: each is found by its rule, and a sound archive has none."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxhero.integrity.results import Outcome
from fluxhero.integrity.scrub import RULES
from tests.archive.conftest import KINDS
from tests.integrity.archives import Archive, put_back


@pytest.fixture
def archive(
    request: pytest.FixtureRequest, clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> Archive:
    """Of a ledger, or of the kind that the test asks for."""
    return put_back(getattr(request, "param", "duckdb"), monkeypatch)


def flip(path: Path, place: float) -> None:
    """Flip one bit so far into a file, from 0 to 1."""
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 0b100
    path.write_bytes(content)


def flip_in_text(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def swap(one: Path, other: Path) -> None:
    aside = one.with_suffix(".aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Write the file again as another program would, metadata kept."""
    table = pq.read_table(path, partitioning=None)
    changed = change(table)
    schema = changed.schema.with_metadata(table.schema.metadata)
    pq.write_table(changed.cast(schema), path, store_schema=True, write_page_checksum=True)


def retyped(name: str, kind: pa.DataType, *, empty: bool = False) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index(name)
        column = pa.nulls(table.num_rows, kind) if empty else table[name].cast(kind)
        return table.set_column(place, pa.field(name, kind), column)

    return change


def number_column(archive: Archive) -> str:
    return "quantity" if archive.house.kind == "duckdb" else "id"


def remove_manifest(archive: Archive, number: int) -> None:
    archive.manifest(number).unlink()


def new_head_is_lost(archive: Archive) -> None:
    batch = archive.manifest(2).stem
    for path in (archive.root / "manifests").glob(f"{batch}*"):
        path.unlink()
    archive.data_file(2).unlink()


Plant = Callable[[Archive], object]
FAULTS: dict[str, tuple[Plant, set[str]]] = {
    "bit in a page": (lambda a: flip(a.data_file(0), 0.02), {"files.sha256", "files.structure"}),
    "bit in the last bytes": (
        lambda a: flip(a.data_file(0), 1),
        {"files.sha256", "files.structure"},
    ),
    "cut off": (
        lambda a: cut(a.data_file(1), 900),
        {"files.size", "files.sha256", "files.structure"},
    ),
    "empty": (lambda a: cut(a.data_file(1), 0), {"files.size", "files.sha256", "files.structure"}),
    "removed": (lambda a: a.data_file(1).unlink(), {"files.present"}),
    "swapped": (lambda a: swap(a.data_file(0), a.data_file(1)), {"files.misplaced"}),
    "renamed": (
        lambda a: a.data_file(1).rename(a.data_file(1).with_name("mine.parquet")),
        {"files.present", "files.misplaced"},
    ),
    "renamed to no data file": (
        lambda a: a.data_file(1).rename(a.root / "aside.bak"),
        {"files.present", "files.misplaced"},
    ),
    "older version": (
        lambda a: rewrite(a.data_file(1), lambda table: table.slice(1)),
        {"files.size", "files.sha256", "files.rows", "files.key-range", "files.outdated"},
    ),
    "column of no type": (
        lambda a: rewrite(a.data_file(0), retyped("regime", pa.null(), empty=True)),
        {"files.size", "files.sha256", "files.schema"},
    ),
    "whole numbers to floats": (
        lambda a: rewrite(a.data_file(0), retyped(number_column(a), pa.float64())),
        {"files.size", "files.sha256", "files.schema"},
    ),
    "zone lost": (
        lambda a: rewrite(a.data_file(0), retyped("_closed_at", pa.timestamp("us"))),
        {"files.size", "files.sha256", "files.schema"},
    ),
    "copy of a data file": (
        lambda a: shutil.copy(a.data_file(0), a.data_file(0).with_name("copy.parquet")),
        {"files.unnamed"},
    ),
    "foreign file": (
        lambda a: a.data_file(0).with_name("notes.txt").write_text("mine"),
        {"files.stray"},
    ),
    "foreign Parquet": (
        lambda a: pq.write_table(pa.table({"x": [1]}), a.root / "trades" / "x.parquet"),
        {"files.unnamed"},
    ),
    "foreign broken Parquet": (
        lambda a: (a.root / "trades" / "x.parquet").write_bytes(b"PAR1"),
        {"files.unnamed", "files.structure"},
    ),
    "staging": (
        lambda a: (a.root / ".staging" / "x.parquet.partial").write_bytes(b"half"),
        {"files.staging"},
    ),
    "half-written manifest": (
        lambda a: a.manifest(1).with_name(f".{a.manifest(1).name}.77.partial").write_bytes(b"{"),
        {"files.staging"},
    ),
    "bit in a manifest's structure": (lambda a: flip(a.manifest(0), 0), {"chain.readable"}),
    "edited manifest": (
        lambda a: flip_in_text(a.manifest(0), '"rows": 5', '"rows": 7'),
        {"chain.readable"},
    ),
    "edited last manifest": (
        lambda a: flip_in_text(a.manifest(2), '"rows": 3', '"rows": 1'),
        {"chain.readable"},
    ),
    "reformatted manifest": (
        lambda a: flip_in_text(a.manifest(1), ' "mode"', '  "mode"'),
        {"chain.readable"},
    ),
    "manifest of another name": (
        lambda a: shutil.copy(a.manifest(0), a.manifest(1)),
        {"chain.readable"},
    ),
    "first manifest removed": (lambda a: remove_manifest(a, 0), {"chain.complete"}),
    "manifest removed from the middle": (lambda a: remove_manifest(a, 1), {"chain.complete"}),
    "last manifest removed": (
        lambda a: remove_manifest(a, 2),
        {"chain.complete", "chain.head"},
    ),
    "last batch gone": (new_head_is_lost, {"chain.head"}),
    "edited event": (
        lambda a: flip_in_text(a.event("purged"), '"rows": 5', '"rows": 4'),
        {"chain.readable"},
    ),
    "event under another name": (
        lambda a: a.event("restored").rename(
            a.event("restored").with_name(a.event("restored").name.replace("restored", "purged"))
        ),
        {"chain.events"},
    ),
    "no document": (
        lambda a: (a.root / "manifests" / "list.json").write_text("[]"),
        {"chain.readable"},
    ),
    "head damaged": (
        lambda a: (a.house.data / "archive-head.json").write_text("{"),
        {"chain.head"},
    ),
    "head gone": (lambda a: (a.house.data / "archive-head.json").unlink(), {"chain.head"}),
    "archive.json gone": (lambda a: (a.root / "archive.json").unlink(), {"archive.identity"}),
    "archive.json damaged": (lambda a: cut(a.root / "archive.json", 20), {"archive.identity"}),
    "holds damaged": (lambda a: cut(a.root / "holds.json", 20), {"holds.readable"}),
}


ON_SQLITE_TOO = (
    "bit in a page", "swapped", "older version", "whole numbers to floats", "copy of a data file",
    "edited last manifest", "manifest removed from the middle", "edited event",
)  # fmt: skip
CASES = [
    *(("duckdb", fault) for fault in FAULTS),
    *(("sqlite", fault) for fault in ON_SQLITE_TOO),
]


@pytest.mark.parametrize(("archive", "fault"), CASES, indirect=["archive"])
def test_a_planted_fault_is_found_by_its_rules_alone(archive: Archive, fault: str) -> None:
    plant, rules = FAULTS[fault]
    plant(archive)
    assert set(archive.faults()) == rules


@pytest.mark.parametrize("archive", KINDS, indirect=True)
def test_a_sound_archive_passes_every_rule(archive: Archive) -> None:
    for deep in (True, False):
        results = archive.check(deep=deep)
        assert [result for result in results if result.outcome is not Outcome.PASSED] == []
        names = {result.rule.name for result in results}
        if deep:
            expected = {rule.name for rule in RULES if not rule.name.startswith("mirror.")}
            assert names == expected


def test_an_archive_that_was_never_made_has_no_faults(archive: Archive) -> None:
    shutil.rmtree(archive.root)
    (archive.house.data / "archive-head.json").unlink()
    assert archive.faults() == {}
    assert not archive.root.exists(), "a check makes nothing"


def test_an_archive_whose_disk_is_gone_is_a_fault(archive: Archive) -> None:
    shutil.rmtree(archive.root)
    assert set(archive.faults()) == {"chain.head"}


@pytest.mark.parametrize(("kind", "number"), [("purged", 2), ("restored", 0)])
def test_an_event_that_is_removed_after_a_check_is_missed(
    archive: Archive, kind: str, number: int
) -> None:
    assert archive.faults() == {}
    path = archive.event(kind, number)
    path.unlink()
    assert archive.faults() == {"chain.events": {path.name}}
    assert archive.faults() == {"chain.events": {path.name}}, "until it is mended"


def test_an_event_that_is_forged_after_a_check_is_found(archive: Archive) -> None:
    from fluxhero.archive.manifest import read_event

    archive.check()
    path = archive.event("purged")
    path.write_bytes(read_event(path).model_copy(update={"rows": 4}).sealed().to_bytes())
    assert archive.faults() == {"chain.readable": {path.name}}
    path.write_bytes(read_event(path).model_copy(update={"rows": 9}).sealed().to_bytes())
    assert archive.faults()["chain.events"] >= {path.name}


def test_every_fault_of_several_is_reported(archive: Archive) -> None:
    flip(archive.manifest(0), 0)
    flip_in_text(archive.event("purged", 1), '"rows": 4', '"rows": 3')
    flip(archive.data_file(1), 0.02)
    gone = archive.data_file(2)
    gone.unlink()
    faults = archive.faults()
    assert faults["chain.readable"] == {archive.manifest(0).name, archive.event("purged", 1).name}
    assert faults["files.sha256"] == {archive.data_file(1).name}
    assert faults["files.present"] == {gone.name}


def test_a_manifest_of_a_newer_release_cannot_be_told(archive: Archive) -> None:
    path = archive.manifest(2)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 9}))
    (result,) = [r for r in archive.check() if r.outcome is not Outcome.PASSED]
    assert (result.rule.name, result.outcome) == ("chain.readable", Outcome.ERRORED)
    assert "newer release" in result.observed
