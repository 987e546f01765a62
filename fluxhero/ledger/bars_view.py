"""The bars of the cache as a relation: each file's bars with the symbol and timeframe it is named after.

Files that have our types stay where they are and are scanned as a query needs them; what another
program wrote in types of its own is read into memory as ours.
"""

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from fluxhero.durable import storage_errors
from fluxhero.engine import literal
from fluxhero.market import cache
from fluxhero.parquet import DAMAGE

NAME = "bars"
SCHEMA = pa.schema([("symbol", pa.string()), ("timeframe", pa.string()), *cache.BARS])
_FILES = pa.schema([("filename", pa.string()), ("symbol", pa.string()), ("timeframe", pa.string())])


def create_bars(connection: duckdb.DuckDBPyConnection, cache_dir: Path) -> None:
    """Make the view `bars`; it is empty where the cache is.

    Raises:
        DamagedFileError: a file of the cache is no Parquet file any more, or not what its record says.
        BadInputError: a file holds something else than bars.
    """
    ours: list[dict[str, str]] = []
    read: list[pa.Table] = []
    for path in cache.cached_files(cache_dir):
        symbol, timeframe = map(str, cache.name_parts(path) or ("", ""))
        if _has_our_types(path):
            ours.append({"filename": str(path), "symbol": symbol, "timeframe": timeframe})
        else:
            read.append(_named(cache.read(path).bars, symbol, timeframe))
    connection.from_arrow(pa.concat_tables([SCHEMA.empty_table(), *read])).create(f"hot.{NAME}")
    sql = f"FROM hot.{NAME}"
    if ours:
        connection.from_arrow(pa.Table.from_pylist(ours, _FILES)).create("hot.files_of_bars")
        sql += f" UNION ALL {_scan([one['filename'] for one in ours])}"
    connection.execute(f"CREATE VIEW {NAME} AS {sql}")


def prove_bars(cache_dir: Path, message: str | None) -> None:
    """After a query failed: read the files of the cache that its message names as a whole; None for all.

    Raises:
        DamagedFileError: it is damaged.
        BadInputError: it holds something else than bars.
    """
    for path in cache.cached_files(cache_dir):
        if message is None or str(path) in message:
            cache.read(path)


def _scan(files: Sequence[str]) -> str:
    paths = ", ".join(map(literal, files))
    columns = ", ".join(["symbol", "timeframe", *cache.BARS.names])
    return (
        f"SELECT {columns} FROM read_parquet([{paths}], union_by_name = true, "
        "hive_partitioning = false, filename = '_file') AS bar "
        "JOIN hot.files_of_bars AS named ON named.filename = bar._file"
    )


def _has_our_types(path: Path) -> bool:
    with storage_errors("read", path):
        try:
            schema = pq.read_schema(path)
        except DAMAGE:
            return False  # reading it says what is wrong
    kinds = dict(zip(schema.names, schema.types, strict=True))
    own = {"symbol", "timeframe", "_file"} & kinds.keys()  # would be taken for ours
    return not own and all(kinds.get(field.name) == field.type for field in cache.BARS)


def _named(bars: pa.Table, symbol: str, timeframe: str) -> pa.Table:
    names = [pa.repeat(name, bars.num_rows) for name in (symbol, timeframe)]
    return pa.table([*names, *bars.select(cache.BARS.names).columns], schema=SCHEMA)
