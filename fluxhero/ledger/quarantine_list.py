"""Rows of a bot's database that cannot be used: a list beside the data, since nothing is written there."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import duckdb
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from fluxhero.durable import read_bytes, write_atomically
from fluxhero.errors import DamagedFileError
from fluxhero.ledger.rejected import Rejected


class _Entry(BaseModel):
    """A line of the list; `row` is the refused row as JSON."""

    model_config = ConfigDict(frozen=True)

    at: AwareDatetime
    source: str
    row: str
    reason: str
    rule: str


class QuarantineList:
    """A file of one JSON object a line, replaced atomically; the rows themselves stay where they are."""

    def __init__(self, path: Path) -> None:
        """Name the file; it is made with the first row that is refused."""
        self._path = path

    def __len__(self) -> int:
        return len(self._entries())

    def add(self, source: str, rejected: Sequence[Rejected]) -> int:
        """List refused rows, each once however often it is met; returns how many are new.

        Raises:
            DamagedFileError: the list cannot be read.
        """
        entries = self._entries()
        known = {(entry.source, entry.rule, entry.row) for entry in entries}
        now = datetime.now(UTC)
        added = []
        for refused in rejected:
            row = json.dumps(refused.row, ensure_ascii=False, default=str)
            where = f"{source} {refused.position}"
            if (where, refused.rule, row) not in known:
                added.append(
                    _Entry(at=now, source=where, row=row, reason=refused.reason, rule=refused.rule)
                )
        if added:
            lines = (entry.model_dump_json() + "\n" for entry in (*entries, *added))
            write_atomically(self._path, "".join(lines).encode())
        return len(added)

    def load(self, connection: duckdb.DuckDBPyConnection, target: str) -> None:
        """Insert the list into an empty quarantine table.

        Raises:
            DamagedFileError: the list cannot be read.
        """
        for entry in self._entries():
            values = [entry.at, entry.source, entry.row, entry.reason, entry.rule]
            connection.execute(f"INSERT INTO {target} VALUES (?, ?, ?, ?, ?, NULL)", values)

    def _entries(self) -> list[_Entry]:
        if not self._path.exists():
            return []
        content = read_bytes(self._path)
        try:
            # Not splitlines(), which also splits at the line separators that a text may hold.
            return [_Entry.model_validate_json(line) for line in content.split(b"\n") if line]
        except ValidationError as error:
            raise DamagedFileError(
                f"the list of refused rows {self._path} is damaged",
                next_step="move it aside; the next run lists again what it refuses",
            ) from error
