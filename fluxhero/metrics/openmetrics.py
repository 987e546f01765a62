"""Old snapshots as OpenMetrics text with their times, to fill a Prometheus that was not there then.

promtool tsdb create-blocks-from openmetrics FILE FOLDER
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import IO, Any

import duckdb
import pyarrow as pa

from fluxhero.engine import connect, literal, moment
from fluxhero.metrics.exposition import PARTS, described, exposed_labels
from fluxhero.metrics.families import Kind, family_of
from fluxhero.metrics.samples import Sample
from fluxhero.metrics.snapshot_files import read_file, snapshot_files

_ROWS = 10_000  # in memory at a time
# Each family in one piece, in it each series, in that its points by time, in these the parts of a histogram.
_SQL = """
SELECT names.family, name, labels, value, epoch_ms(timestamp)
FROM read_parquet([{files}], union_by_name = true, hive_partitioning = false) JOIN names USING (name)
WHERE timestamp BETWEEN {first} AND {last}
ORDER BY names.family, list_filter(map_entries(labels), lambda label: label.key <> 'le')::VARCHAR,
    timestamp, names.part, coalesce(try_cast(labels['le'] AS DOUBLE), 'Infinity'::DOUBLE)
"""
_NAMES = "SELECT DISTINCT name FROM read_parquet([{files}], hive_partitioning = false) ORDER BY 1"

_Row = tuple[str, str, dict[str, str], float, int]


def write_openmetrics(data_dir: Path, first: datetime, last: datetime, stream: IO[str]) -> int:
    """Write every snapshot of a time; memory stays flat however long that is.

    Args:
        data_dir: the data folder.
        first: from then on.
        last: until then.
        stream: where the text goes.

    Returns:
        How many samples were written.

    Raises:
        DamagedFileError: a file of that time cannot be read; nothing was written then.
    """
    files = snapshot_files(data_dir, first, last)
    for path in files:
        read_file(path)  # DuckDB would not see that a page is damaged
    count = 0
    if files:
        with connect(temp_dir=data_dir / "tmp", threads=1) as engine:
            for family, rows in groupby(_rows(engine, files, first, last), key=lambda row: row[0]):
                stream.write(_header(family))
                for row in rows:
                    stream.write(_line(row))
                    count += 1
    stream.write("# EOF\n")
    return count


def _rows(
    engine: duckdb.DuckDBPyConnection, files: Sequence[Path], first: datetime, last: datetime
) -> Iterator[_Row]:
    listed = ", ".join(literal(str(path)) for path in files)
    names = [name for (name,) in engine.execute(_NAMES.format(files=listed)).fetchall()]
    engine.register("names", pa.Table.from_pylist([_place(name) for name in names]))
    span = {"first": moment(first.astimezone(UTC)), "last": moment(last.astimezone(UTC))}
    engine.execute(_SQL.format(files=listed, **span))
    while rows := engine.fetchmany(_ROWS):
        yield from rows


def _place(name: str) -> dict[str, Any]:
    family = family_of(name)
    part = name.removeprefix(family.name) if family and family.kind is Kind.HISTOGRAM else ""
    return {
        "name": name,
        "family": family.name if family else name,
        "part": PARTS.index(part) if part else 0,
    }


def _header(name: str) -> str:
    family = described(name)
    meaning = _escaped(family.documentation)
    return f"# HELP {family.name} {meaning}\n# TYPE {family.name} {family.type}\n"


def _line(row: _Row) -> str:
    _, name, labels, value, at = row
    pairs = exposed_labels(Sample(name, tuple(labels.items()), value))
    shown = ",".join(f'{label}="{_escaped(text)}"' for label, text in pairs)
    braces = f"{{{shown}}}" if shown else ""
    return f"{name}{braces} {value!r} {at // 1000}.{at % 1000:03d}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
