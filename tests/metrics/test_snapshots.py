"""Snapshots as Parquet: what is kept, what is refused, which one is the newest, and what a time holds."""

import math
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from fluxhero.errors import DamagedFileError, FluxHeroError
from fluxhero.integrity.findings import new_run_id
from fluxhero.metrics.compaction import compact_snapshots
from fluxhero.metrics.samples import Sample, sample
from fluxhero.metrics.snapshot_files import SCHEMA, snapshot_files
from fluxhero.metrics.snapshots import Latest, Snapshot, latest_snapshot, series, write_snapshot
from tests.metrics.measured import NOON, equity, one_of_each, snapshot, write_several

HOUR = timedelta(hours=1)


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0b100
    path.write_bytes(content)


def test_every_number_comes_back_as_it_was(tmp_path: Path) -> None:
    odd = 'a "quoted"\\ back\nslash; Grüße 😀'
    kept = Snapshot(
        new_run_id(NOON),
        NOON.replace(microsecond=123456),
        (*one_of_each(0.1 + 0.2), sample("hot_store_rows", 1e15 / 3, table=odd)),
    )
    path = write_snapshot(tmp_path, kept)
    assert path == tmp_path / "snapshots" / "2026-11-20" / f"{kept.run}.parquet"
    assert latest_snapshot(tmp_path, NOON) == Latest(kept)
    assert pq.read_schema(path).remove_metadata() == SCHEMA
    rows = duckdb.execute(
        f"SELECT type, \"window\", count, labels['quantile'] FROM '{path}' "
        "WHERE name = 'trading_order_fill_latency_window_seconds'"
    ).fetchall()
    assert rows == [("gauge", "7d", 120, "0.5")]


def test_the_day_is_that_of_utc(tmp_path: Path) -> None:
    late = datetime(2026, 11, 20, 20, tzinfo=timezone(timedelta(hours=-5)))
    path = write_snapshot(tmp_path, snapshot(late.astimezone(UTC)))
    assert path.parent.name == "2026-11-21"
    assert snapshot_files(tmp_path, late, late) == [path]


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        ([], "nothing was measured"),
        ([equity(math.nan)], "is nan"),
        ([equity(-math.inf)], "is -inf"),
        ([sample("equity", 1.0)], "no metric of ours"),
        ([sample("equity_usd", 1.0, mode="live")], "should have the labels mode, basis"),
        ([sample("hot_store_bytes", 1.0, table="trades")], "should have the labels of no name"),
        ([sample("equity_usd", 1.0, basis="closed", mode="live")], "labels mode, basis"),
        ([equity(1.0, mode="")], "empty or no text"),
        ([equity(1.0), equity(2.0)], "is there twice"),
        ([sample("job_duration_seconds", 1.0, job_name="x")], "which part"),
        ([sample("job_duration_seconds_sum", 1.0, job_name="x")], "no bucket le='+Inf'"),
        (
            [
                sample("job_duration_seconds_bucket", 1.0, job_name="x", le="+Inf"),
                sample("job_duration_seconds_count", 2.0, job_name="x"),
                sample("job_duration_seconds_sum", 2.0, job_name="x"),
            ],
            "that holds its count",
        ),
        (
            [
                sample("job_duration_seconds_bucket", 3.0, job_name="x", le="1"),
                sample("job_duration_seconds_bucket", 2.0, job_name="x", le="+Inf"),
                sample("job_duration_seconds_count", 2.0, job_name="x"),
                sample("job_duration_seconds_sum", 2.0, job_name="x"),
            ],
            "buckets that fall",
        ),
    ],
)
def test_what_a_scrape_would_choke_on_is_not_kept(
    tmp_path: Path, samples: list[Sample], said: str
) -> None:
    with pytest.raises(FluxHeroError, match=said.replace("+", r"\+")):
        write_snapshot(tmp_path, Snapshot("run", NOON, tuple(samples)))
    assert not list(tmp_path.rglob("*.parquet"))


def test_the_newest_that_can_be_read(tmp_path: Path) -> None:
    assert latest_snapshot(tmp_path, NOON) == Latest(None)
    first, second, third = write_several(tmp_path, NOON - 48 * HOUR, HOUR, 3)
    assert latest_snapshot(tmp_path, NOON).snapshot == snapshot(NOON - 46 * HOUR)
    # Clock set back: what is of time to come is not the newest for ever.
    ahead = NOON - 46 * HOUR + timedelta(minutes=5)
    write_snapshot(tmp_path, snapshot(ahead + timedelta(seconds=1)))
    write_snapshot(tmp_path, snapshot(NOON + 100 * HOUR))
    assert latest_snapshot(tmp_path, ahead - timedelta(minutes=5)).snapshot == snapshot(
        NOON - 46 * HOUR
    )
    write_snapshot(tmp_path, snapshot(ahead))
    assert latest_snapshot(tmp_path, NOON - 46 * HOUR).snapshot == snapshot(ahead)

    now = NOON - 46 * HOUR - timedelta(minutes=6)  # the third is of time to come
    measured_later = Snapshot(snapshot(now).run, now + HOUR, (equity(1.0),))
    write_snapshot(tmp_path, measured_later)
    damage(second)
    assert latest_snapshot(tmp_path, now) == Latest(snapshot(NOON - 48 * HOUR), (second,))
    first.write_bytes(b"PAR1")
    assert latest_snapshot(tmp_path, now) == Latest(None, (second, first))
    pq.write_table(pq.read_table(third).drop_columns("run"), first)  # a column is missing
    assert latest_snapshot(tmp_path, now) == Latest(None, (second, first))


def test_what_the_pipeline_did_not_write_is_no_snapshot(tmp_path: Path) -> None:
    (path,) = write_several(tmp_path, NOON, HOUR, 1)
    foreign = snapshot(NOON + HOUR).run
    path.with_name(f"{foreign}.parquet").write_bytes(path.read_bytes())
    for name in ("2026-13-40", "notes"):
        (path.parents[1] / name).mkdir()
    (path.parents[1] / "2026-11-19").write_text("no folder")
    assert latest_snapshot(tmp_path, NOON + 2 * HOUR).snapshot == snapshot(NOON)
    assert snapshot_files(tmp_path) == [path]


def test_a_compacted_day_has_the_newest_too(tmp_path: Path) -> None:
    write_several(tmp_path, NOON, HOUR, 3)
    (day,) = compact_snapshots(tmp_path, NOON + 24 * HOUR, grace=timedelta())
    now = NOON + 24 * HOUR
    assert latest_snapshot(tmp_path, now) == Latest(snapshot(NOON + 2 * HOUR))
    assert latest_snapshot(tmp_path, NOON + HOUR) == Latest(snapshot(NOON + HOUR))
    write_snapshot(tmp_path, snapshot(NOON + HOUR / 2))
    assert latest_snapshot(tmp_path, now) == Latest(snapshot(NOON + 2 * HOUR))
    write_snapshot(tmp_path, snapshot(NOON + 3 * HOUR))
    assert latest_snapshot(tmp_path, now) == Latest(snapshot(NOON + 3 * HOUR))
    (newest := day.parent / "2026-11-20" / f"{snapshot(NOON + 3 * HOUR).run}.parquet").unlink()
    damage(day)
    assert latest_snapshot(tmp_path, now) == Latest(snapshot(NOON + HOUR / 2), (day,))
    newest.write_bytes(b"")
    assert latest_snapshot(tmp_path, now).unreadable == (newest, day)


def test_a_series(tmp_path: Path) -> None:
    for number in range(40):
        at = NOON - 20 * HOUR + HOUR * number
        numbers = [equity(float(number)), equity(-1.0, "paper"), sample("hot_store_bytes", 7.0)]
        write_snapshot(tmp_path, snapshot(at, *numbers))
    compact_snapshots(tmp_path, NOON)

    def values(**arguments: object) -> list[float]:
        given = {"first": NOON - 20 * HOUR, "last": NOON + 19 * HOUR, **arguments}
        rows = series(tmp_path, ["trading_equity_usd"], labels={"mode": "live"}, **given)  # type: ignore[arg-type]
        assert rows.schema == SCHEMA
        return list(rows["value"].to_pylist())

    assert values() == list(range(40))
    assert values(first=NOON - 19.5 * HOUR, last=NOON + 0.5 * HOUR) == list(range(1, 21))
    assert values(max_points=4) == [9, 19, 29, 39]
    assert values(max_points=1) == [39]
    assert len(values(max_points=7)) == 7
    assert values(max_points=10_000) == list(range(40))
    assert values(first=NOON, last=NOON, max_points=5) == [20]
    assert values(first=NOON + 100 * HOUR, last=NOON + 200 * HOUR) == []
    both = series(tmp_path, ["trading_equity_usd", "trading_hot_store_bytes"], NOON, NOON)
    assert [(row["name"], dict(row["labels"]).get("mode")) for row in both.to_pylist()] == [
        ("trading_equity_usd", "live"),
        ("trading_equity_usd", "paper"),
        ("trading_hot_store_bytes", None),
    ]
    odd = {"it's": "'; DROP TABLE rows"}
    assert not series(tmp_path, ["trading_equity_usd"], NOON, NOON, odd).num_rows
    assert not series(tmp_path / "none", ["trading_equity_usd"], NOON, NOON).num_rows


def test_a_series_never_leaves_a_damaged_file_out_in_silence(tmp_path: Path) -> None:
    paths = write_several(tmp_path, NOON, HOUR, 3)
    damage(paths[1])
    with pytest.raises(DamagedFileError, match=paths[1].name):
        series(tmp_path, ["trading_equity_usd"], NOON, NOON + 9 * HOUR)
