"""Storage in numbers, for both kinds of store at every stage of an archive's life."""

import logging
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from fluxhero.archive.holds import release_holds
from fluxhero.durable import write_atomically
from fluxhero.errors import ManifestError
from fluxhero.integrity.findings import finding_files, judge, latest_findings, write_findings
from fluxhero.integrity.results import Result, errored, failed, passed
from fluxhero.integrity.rules import Rule, Severity
from fluxhero.integrity.waivers import Waiver
from fluxhero.ledger.rejected import Rejected
from fluxhero.metrics.checks import check_samples
from fluxhero.metrics.families import STORAGE, family_of
from fluxhero.metrics.samples import Sample
from fluxhero.metrics.store import store_samples
from tests import samples
from tests.archive.conftest import duckdb_house, house, make_house, sample_house, store_kind
from tests.house import House

__all__ = ["duckdb_house", "house", "sample_house", "store_kind"]
NOW = samples.AS_OF
LAG = (NOW - datetime.fromisoformat("2025-01-03T10:00:00.000001+00:00")).total_seconds()


def values(found: list[Sample]) -> dict[str, float]:
    """Name and label values → value."""
    keyed = {}
    for one in found:
        family = family_of(one.name)
        assert family in STORAGE
        assert family is not None
        assert tuple(name for name, _ in one.labels) == family.labels
        name = " ".join([one.name.removeprefix("trading_"), *(value for _, value in one.labels)])
        assert name not in keyed
        keyed[name] = one.value
    return keyed


def measured(house: House, now: datetime = NOW) -> dict[str, float]:
    return values(store_samples(house.settings, now))


@pytest.mark.parametrize("kind", ["duckdb", "sqlite"])
def test_with_neither_store_nor_archive(
    kind: str, clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = make_house(kind, clean_environment, monkeypatch)
    found = measured(house)
    tables = ("trades", "orders") if kind == "duckdb" else ("trades",)
    assert found.pop("archive_files") == found.pop("archive_bytes") == 0
    counters = ("archive", "purged", "restored")
    assert found == {f"{name}_rows_total {table}": 0 for name in counters for table in tables}
    assert not house.data.exists(), "looking makes nothing"


def test_from_first_trade_to_restore(house: House) -> None:
    house.add(1, 2, 3)
    found = measured(house)
    assert found["hot_store_rows trades"] == 3
    assert found["hot_store_bytes"] >= house.store.stat().st_size
    assert found["archive_lag_seconds"] == pytest.approx(LAG - 30 * 86_400, abs=0.01)
    early = NOW - timedelta(days=300)
    assert measured(house, early)["archive_lag_seconds"] == 0

    house.archive(purge=False)
    copied = measured(house)
    assert (copied["archive_rows_total trades"], copied["purged_rows_total trades"]) == (3, 0)
    assert copied["archive_lag_seconds"] == 0, "what is only to be purged is archived"

    house.archive()
    done = measured(house)
    (file,) = house.archive_dir.glob("trades/**/*.parquet")
    assert (done["archive_files"], done["archive_bytes"]) == (1, file.stat().st_size)
    assert (done["purged_rows_total trades"], done["hot_store_rows trades"]) == (3, 0)

    house.restore(trade_ids=[house.key(1), house.key(2)])
    house.edit(1, "signal_reason = 'corrected'")
    back = measured(house, datetime.now(NOW.tzinfo))
    assert (back["restored_rows_total trades"], back["hot_store_rows trades"]) == (2, 2)
    assert back["archive_lag_seconds"] == 0, "they are on hold"
    keys = [hold.trade_id for hold in house.holds]
    release_holds(house.workspace.layout.holds, "trades", keys, at=datetime.now(NOW.tzinfo))
    house.archive()
    again = measured(house)
    assert again["archive_rows_total trades"] == 4, "the correction is a version more"
    assert again["archive_files"] == 2


def test_quarantined_rows_by_rule(house: House) -> None:
    assert not [name for name in measured(house) if "quarantined" in name]
    refused = [
        Rejected({"id": n}, f"reason {n}", f"rule-{n % 30:02}", f"row {n}") for n in range(61)
    ]
    if house.kind == "duckdb":
        house.workspace.store.quarantine("a.csv", refused)
        house.execute("UPDATE quarantine SET resolved_at = now() WHERE rule = 'rule-01'")
    else:
        house.workspace.store.quarantine("live_trades", refused)
    found = {k.split()[1]: v for k, v in measured(house).items() if "quarantined" in k}
    assert len(found) == 21
    assert found["rule-00"] == 3
    assert sum(found.values()) == (59 if house.kind == "duckdb" else 61)
    assert found["other"] == (18 if house.kind == "duckdb" else 20)


def test_a_damaged_archive_is_no_number(house: House) -> None:
    house.add(1)
    house.archive()
    manifest = house.archive_dir / "manifests" / f"{house.chain.manifests[0].batch_id}.json"
    write_atomically(manifest, manifest.read_bytes().replace(b'"rows": 1', b'"rows": 9'))
    with pytest.raises(ManifestError):
        measured(house)


RULES = {
    name: Rule(name, Severity.ERROR, "", "", "") for name in ("a.first", "a.second", "a.third")
}
FIRST, SECOND, THIRD = RULES.values()


def check(data_dir: Path, day: int, *results: Result, waived: bool = False) -> datetime:
    """Record a storage check that came to these results."""
    at = NOW + timedelta(days=day)
    day_before, day_after = at - timedelta(days=1), at + timedelta(days=1)
    waiver = Waiver(rule="a.first", reason="known", since=day_before, until=day_after)
    found = judge(results, latest_findings(data_dir, at), [waiver] if waived else [], at)
    write_findings(data_dir, f"{at:%Y%m%dT%H%M%SZ}-{day:04x}", at, found, deep=False)
    return at


def test_what_checks_found_over_all_runs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    later = NOW + timedelta(days=100)

    def now(at: datetime = later) -> dict[str, float]:
        return values(check_samples(tmp_path, at))

    assert now() == {}
    sound = check(tmp_path, 1, passed(FIRST, "x"), passed(SECOND, "x"))
    assert now() == {
        "integrity_last_run_timestamp_seconds": sound.timestamp(),
        "integrity_last_ok_timestamp_seconds": sound.timestamp(),
        "integrity_failures_total a.first": 0,
        "integrity_failures_total a.second": 0,
        "findings_open critical": 0,
        "findings_open error": 0,
        "findings_open warning": 0,
    } | {f"findings_open {one}": 0 for one in Severity}
    check(
        tmp_path,
        2,
        failed(FIRST, "x", "bad"),
        failed(FIRST, "y", "bad"),
        errored(SECOND, "x", "no"),
    )
    check(tmp_path, 3, passed(THIRD, "x"))  # the others are carried along, and not failed once more
    found = now()
    assert found["integrity_failures_total a.first"] == 1
    assert found["integrity_failures_total a.second"] == 0, "it could not be told"
    assert found["integrity_last_ok_timestamp_seconds"] == sound.timestamp()
    assert found["findings_open error"] == 3
    check(tmp_path, 4, failed(FIRST, "x", "bad"), passed(FIRST, "y"), passed(SECOND, "x"))
    assert now()["integrity_failures_total a.first"] == 2
    mended = check(tmp_path, 5, passed(FIRST, "x"), passed(SECOND, "x"))
    assert now()["integrity_last_ok_timestamp_seconds"] == mended.timestamp()
    assert now()["findings_open error"] == 0
    check(tmp_path, 50, failed(FIRST, "x", "bad"))  # its clock was wrong
    assert now(mended)["integrity_failures_total a.first"] == 2

    finding_files(tmp_path)[1].write_bytes(b"PAR1 no longer")
    with caplog.at_level(logging.WARNING):
        damaged = now(mended)
    assert "cannot be read" in caplog.text
    assert not [name for name in damaged if "failures" in name], "it would fall"
    assert damaged["integrity_last_run_timestamp_seconds"] == mended.timestamp()
    for path in finding_files(tmp_path):
        path.write_bytes(b"")
    assert now() == {}


def test_what_is_waived_does_not_count(tmp_path: Path) -> None:
    at = check(tmp_path, 1, failed(FIRST, "x", "bad"), waived=True)
    found = values(check_samples(tmp_path, at))
    assert found["findings_open error"] == 0
    assert found["integrity_failures_total a.first"] == 0
    assert found["integrity_last_ok_timestamp_seconds"] == at.timestamp()
