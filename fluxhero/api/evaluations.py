"""Results of the backtest evaluation as the API shows them: recorded Parquet files, whatever their columns.

They are what their records say, or an error.
"""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from pydantic_core import to_jsonable_python

from fluxhero.api.errors import ApiError
from fluxhero.api.models import EvaluationLine, EvaluationRows
from fluxhero.backtest.trials import EVALUATIONS
from fluxhero.durable import sha256, storage_errors
from fluxhero.errors import DamagedFileError
from fluxhero.parquet import DAMAGE
from fluxhero.recorded import read_record, record_path

_BACKUP = "restore it from a backup, or evaluate again"


def listed(data_dir: Path) -> list[EvaluationLine]:
    """Every result, newest first; what has no record is not ours.

    Raises:
        DamagedFileError: a record cannot be read.
    """
    lines = []
    for path in _files(data_dir):
        record = read_record(path)
        if record is not None:
            lines.append(
                EvaluationLine(
                    name=_name(data_dir, path),
                    written_at=record.written_at,
                    rows=record.contents.rows,
                    bytes=record.contents.bytes,
                    columns=record.contents.columns,
                )
            )
    return sorted(lines, key=lambda line: (line.written_at, line.name), reverse=True)


def rows_of(data_dir: Path, name: str, limit: int, offset: int) -> EvaluationRows:
    """Rows of one result.

    Raises:
        ApiError: there is none of this name.
        DamagedFileError: it is not what its record says.
    """
    # Looked up among those there are, so that no name leads out of the folder.
    path = next((one for one in _files(data_dir) if _name(data_dir, one) == name), None)
    if path is None:
        raise ApiError(
            404,
            "not-found",
            "there is no evaluation of this name",
            next_step="/api/evaluations lists them",
        )
    record = read_record(path)
    if record is None or not record.knows(sha256(path)):
        raise DamagedFileError(f"{path} is not what its record says", next_step=_BACKUP)
    try:
        table = pq.read_table(path, partitioning=None, page_checksum_verification=True)
    except DAMAGE as error:
        raise DamagedFileError(f"{path} cannot be read", next_step=_BACKUP) from error
    part = table.slice(offset, limit).to_pylist()
    return EvaluationRows(
        name=name,
        rows=tuple(_json(row) for row in part),
        total=table.num_rows,
        limit=limit,
        offset=offset,
    )


def _files(data_dir: Path) -> list[Path]:
    folder = data_dir / EVALUATIONS
    with storage_errors("list", folder):
        found = sorted(folder.rglob("*.parquet"))
    return [path for path in found if path.name[0] != "." and record_path(path).exists()]


def _name(data_dir: Path, path: Path) -> str:
    return path.relative_to(data_dir / EVALUATIONS).as_posix()


def _json(row: dict[str, Any]) -> dict[str, Any]:
    """A row as JSON can say it: exact numbers as text, what is no number as null."""
    ready = to_jsonable_python(row, bytes_mode="hex", timedelta_mode="float", inf_nan_mode="null")
    return dict(ready)
