"""What every reader of Parquet files has to know: how damage shows, and how two schemas differ."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

# What pyarrow raises over a damaged file: anything in the footer may be what is damaged.
DAMAGE = (pa.ArrowException, OSError, LookupError, ValueError, OverflowError)


def schema_difference(found: pa.Schema, declared: pa.Schema) -> str:
    """How a file's columns differ from what they should be; empty where they do not."""
    if found == declared:
        return ""
    wrong = [
        f"{field.name} is {found.field(field.name).type} instead of {field.type}"
        for field in declared
        if field.name in found.names and found.field(field.name).type != field.type
    ]
    wrong += [f"{name} is missing" for name in declared.names if name not in found.names]
    wrong += [f"{name} is not declared" for name in found.names if name not in declared.names]
    return ", ".join(wrong) or "the columns have another order, or may not be empty"


def read_declared(path: Path, declared: pa.Schema, **options: Any) -> pa.Table:
    """Read a file that has the columns declared; damage to its pages never goes unseen.

    Args:
        path: the file.
        declared: its columns.
        options: further ones of `pyarrow.parquet.read_table`.

    Raises:
        One of `DAMAGE`: it is gone, damaged, or has other columns.
    """
    if difference := schema_difference(pq.read_schema(path).remove_metadata(), declared):
        raise ValueError(difference)
    return pq.read_table(path, page_checksum_verification=True, partitioning=None, **options)
