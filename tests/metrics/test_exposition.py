"""What Prometheus, its tools and its node exporter make of the product's text."""

import io
import math
import os
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.request import urlopen

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse

from fluxhero.errors import DamagedFileError
from fluxhero.metrics.compaction import compact_snapshots
from fluxhero.metrics.exposition import families_of, render
from fluxhero.metrics.families import MEASURED
from fluxhero.metrics.openmetrics import write_openmetrics
from fluxhero.metrics.samples import Sample, sample
from fluxhero.metrics.snapshots import write_snapshot
from fluxhero.metrics.textfile import write_textfile
from tests.metrics.measured import NOON, equity, one_of_each, snapshot, write_several
from tests.metrics.test_snapshots import damage

HOUR = timedelta(hours=1)
ODD = 'a "quoted"\\ back\nslash; Grüße 😀} 1\ntrading_equity_usd 0'


def needs(program: str, package: str) -> pytest.MarkDecorator:
    reason = f"{program} is not installed: apt-get install {package}"
    return pytest.mark.skipif(shutil.which(program) is None, reason=reason)


def test_every_metric_has_its_meaning_once_and_no_metric_is_there_without_a_sample() -> None:
    lines = render(reversed(one_of_each())).decode().splitlines()
    for word in ("HELP", "TYPE"):
        named = [line.split()[2] for line in lines if line.startswith(f"# {word} ")]
        assert named == [family.name for family in MEASURED]
    assert render([]) == b""
    text = render([equity(1.0)]).decode()
    assert text == (
        "# HELP trading_equity_usd Value of the account.\n# TYPE trading_equity_usd gauge\n"
        'trading_equity_usd{basis="closed",mode="live"} 1.0\n'
    )


def test_types_are_those_that_prometheus_goes_by() -> None:
    found = {metric.name: metric for metric in parse(render(one_of_each()).decode())}
    assert found["trading_orders"].type == "counter"
    assert found["trading_orders"].samples[0].name == "trading_orders_total"
    assert found["trading_win_ratio"].type == "gauge"
    quantiles = found["trading_order_ack_latency_window_seconds"]
    assert (quantiles.type, quantiles.samples[0].labels["quantile"]) == ("summary", "0.5")
    histogram = found["trading_holding_seconds"]
    assert histogram.type == "histogram"
    parts = [
        (one.name.removeprefix(histogram.name), one.labels.get("le")) for one in histogram.samples
    ]
    bounds = ["5.0", "60.0", "2.592e+06", "+Inf"]
    assert parts == [*(("_bucket", bound) for bound in bounds), ("_count", None), ("_sum", None)]


def test_the_series_of_a_histogram_stay_together() -> None:
    samples = [
        Sample(f"trading_job_duration_seconds{part}", (("job_name", job), *le), 1.0)
        for part, le in (("_sum", ()), ("_bucket", (("le", "+Inf"),)), ("_count", ()))
        for job in ("b", "a")
    ]
    (family,) = families_of(samples)
    assert [one.labels["job_name"] for one in family.samples] == ["a"] * 3 + ["b"] * 3
    assert family.samples[0].labels["le"] == "+Inf"


def test_a_label_can_say_what_it_likes() -> None:
    text = render([sample("hot_store_rows", 1.0, table=ODD)]).decode()
    (family,) = parse(text)
    assert [(one.name, one.labels) for one in family.samples] == [
        ("trading_hot_store_rows", {"table": ODD})
    ]


def test_a_metric_of_another_release_is_not_lost() -> None:
    (family,) = families_of([Sample("trading_moon_phase", (), 0.5)])
    assert (family.name, family.type) == ("trading_moon_phase", "unknown")
    assert (
        "# TYPE trading_moon_phase untyped"
        in render([Sample("trading_moon_phase", (), 0.5)]).decode()
    )


@needs("promtool", "prometheus")
def test_promtool_has_nothing_to_say() -> None:
    text = render([*one_of_each(), sample("hot_store_rows", 1.0, table=ODD)])
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


# ------------------------------------------------------------------------------------- OpenMetrics


def written(data_dir: Path, first: datetime, last: datetime) -> str:
    stream = io.StringIO()
    count = write_openmetrics(data_dir, first, last, stream)
    text = stream.getvalue()
    assert count == sum(not line.startswith("#") for line in text.splitlines())
    return text


def test_openmetrics_text_is_what_its_specification_says(tmp_path: Path) -> None:
    assert written(tmp_path, NOON, NOON) == "# EOF\n"
    numbers = [*one_of_each(), equity(1 / 3, "paper"), sample("hot_store_rows", 7.0, table=ODD)]
    for hours in (0, 1, 30):
        write_snapshot(tmp_path, snapshot(NOON + hours * HOUR, *numbers))
    compact_snapshots(tmp_path, NOON + 24 * HOUR)
    exposed = {metric.name: metric for metric in parse(render(numbers).decode())}
    for hours in (0, 1, 30):  # each alone: of several points of a histogram, the parser drops some
        at = NOON + hours * HOUR
        found = {metric.name: metric for metric in parse_open(written(tmp_path, at, at))}  # type: ignore[no-untyped-call]
        assert found.keys() == exposed.keys()
        for name, metric in found.items():
            of = exposed[name]
            assert (metric.type, metric.documentation) == (of.type, of.documentation)
            assert [one[:3] for one in metric.samples] == [one[:3] for one in of.samples]
            assert {float(one.timestamp) for one in metric.samples} == {at.timestamp()}
    lines = written(tmp_path, NOON, NOON + 30 * HOUR).splitlines()
    assert len([line for line in lines if not line.startswith("#")]) == 3 * len(numbers)
    times = [float(line.split()[2]) for line in lines if line.startswith("trading_archive_bytes ")]
    assert times == [(NOON + hours * HOUR).timestamp() for hours in (0, 1, 30)]
    buckets = [line.split()[-1] for line in lines if line.startswith("trading_holding_seconds_")]
    assert buckets == sorted(buckets), "one point after the other"
    assert len(buckets) == 3 * 6
    assert written(tmp_path, NOON + HOUR, NOON + 2 * HOUR).count("trading_archive_bytes ") == 3
    assert written(tmp_path, NOON + 31 * HOUR, NOON + 99 * HOUR) == "# EOF\n"


def test_openmetrics_of_a_damaged_file_is_not_begun(tmp_path: Path) -> None:
    damage(write_several(tmp_path, NOON, HOUR, 2)[1])
    stream = io.StringIO()
    with pytest.raises(DamagedFileError):
        write_openmetrics(tmp_path, NOON, NOON + 9 * HOUR, stream)
    assert stream.getvalue() == ""
    assert written(tmp_path, NOON - 99 * HOUR, NOON - 24 * HOUR) == "# EOF\n"


@needs("promtool", "prometheus")
def test_forty_days_get_into_a_prometheus(tmp_path: Path) -> None:
    first = datetime(2026, 3, 10, 0, 30, tzinfo=UTC)
    histogram = [
        one for one in one_of_each() if one.name.startswith("trading_job_duration_seconds")
    ]
    expected = set()
    for day in range(40):
        at = first + day * 24 * HOUR + timedelta(milliseconds=day)
        profit = sample("profit_usd_total", 100.0 + day, mode="live")
        write_snapshot(tmp_path, snapshot(at, equity(150_000 - 10.5 * day), profit, *histogram))
        expected.add((round(at.timestamp() * 1000), 150_000 - 10.5 * day))
    compact_snapshots(tmp_path, first + 30 * 24 * HOUR)
    text, database = tmp_path / "metrics.txt", tmp_path / "prometheus"
    with text.open("w", encoding="utf-8") as stream:
        write_openmetrics(tmp_path, first, first + 41 * 24 * HOUR, stream)
    tool = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(text), str(database)]
    made = subprocess.run(tool, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    (database / "wal").mkdir()  # as a running Prometheus has; without it the tool does not read
    dumped = subprocess.run(
        ["promtool", "tsdb", "dump", str(database)], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    equities = [line.split() for line in dumped if '"trading_equity_usd"' in line]
    assert {(int(time), float(value)) for *_, value, time in equities} == expected
    assert all('basis="closed", mode="live"' in " ".join(line) for line in equities)
    assert sum('"trading_profit_usd_total"' in line for line in dumped) == 40
    assert sum('le="2.592e+06"' in line for line in dumped) == 40


# --------------------------------------------------------------------------------------- textfile


def test_the_textfile_is_whole_and_for_everybody(tmp_path: Path) -> None:
    path = tmp_path / "collected" / "fluxhero.prom"
    before = os.umask(0o077)
    try:
        write_textfile(path, one_of_each(1.0))
        write_textfile(path, one_of_each(2.0))
    finally:
        os.umask(before)
    assert path.read_bytes() == render(one_of_each(2.0))
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(path.parent.iterdir()) == [path]
    assert all(
        one.timestamp is None for family in parse(path.read_text("utf-8")) for one in family.samples
    )


@pytest.fixture
def exporter(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A node exporter that collects a folder, and where it answers."""
    folder = tmp_path / "textfile"
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [
        "prometheus-node-exporter",
        "--collector.disable-defaults",
        "--collector.textfile",
        f"--collector.textfile.directory={folder}",
        f"--web.listen-address={address}",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield folder, f"http://{address}/metrics"
    finally:
        process.terminate()
        process.wait(timeout=20)


def collected(url: str) -> str:
    for _ in range(100):
        try:
            with urlopen(url, timeout=10) as answer:
                return str(answer.read().decode())
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the node exporter does not answer")


@needs("prometheus-node-exporter", "prometheus-node-exporter")
def test_the_node_exporter_collects_the_file(exporter: tuple[Path, str]) -> None:
    folder, url = exporter
    write_textfile(folder / "fluxhero.prom", [*one_of_each(), equity(123_456.5, "paper")])
    found = {metric.name: metric for metric in parse(collected(url))}
    assert found["node_textfile_scrape_error"].samples[0].value == 0
    missing = {family.name.removesuffix("_total") for family in MEASURED} - found.keys()
    assert not missing
    values = {one.labels["mode"]: one.value for one in found["trading_equity_usd"].samples}
    assert values["paper"] == 123_456.5
    quantiles = found["trading_holding_window_seconds"].samples
    assert {one.labels["quantile"]: one.value for one in quantiles if "quantile" in one.labels} == {
        "0.5": 1.5
    }
    assert all(math.isfinite(one.value) for one in found["trading_holding_seconds"].samples)
