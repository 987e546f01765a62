"""What a format is: the types every reader in this package is written against.

A reader turns one file into pages of canonical rows. It never writes, never touches a store, and
keeps memory flat. How rows are judged is `admission`; which formats exist is the package itself.
"""

import difflib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from fluxhero.errors import BadInputError
from fluxhero.ledger.rejected import Rejected
from fluxhero.ledger.schema import TRADES, Table

PAGE_ROWS = 25_000


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What the user says about a file that the file does not say itself.

    Attributes:
        table: the ledger table the rows belong to (formats that know better ignore it).
        mode: the mode of rows whose file does not tell.
        timezone: IANA zone in which times without an offset are read.
        timezone_given: whether the user named the zone for this very file.
        account: the broker's account, for files that do not tell.
        label: what rows call their file; its name where there is none.
        shown: what the user calls the file, where it is read from a copy.
    """

    table: Table = TRADES
    mode: str | None = None
    timezone: str = "UTC"
    timezone_given: bool = False
    account: str | None = None
    label: str | None = None
    shown: Path | None = None

    def named(self, path: Path) -> Path:
        """What to call a file in words."""
        return self.shown or path

    def file(self, path: Path) -> str:
        """What rows call a file: the first part of their `source_id`."""
        return self.label or path.name


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows of a file: `rows` in `table.arrow`, and the rows that were refused."""

    table: Table
    rows: pa.Table
    rejected: list[Rejected] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Format:
    """One kind of file.

    Attributes:
        name: what `--format` calls it.
        summary: one line for help and messages.
        recognises: whether a file is of this kind, from its path and its first bytes.
        pages: reads a file; raises BadInputError when it is not readable as this kind.
        row_count: how many rows a file has when that is cheap to tell, else None.
        keeps_raw: whether the file itself is kept, as proof of what its source said.
        snapshot: copies a file whose bytes alone may be no consistent copy; by default bytes are copied.
    """

    name: str
    summary: str
    recognises: Callable[[Path, bytes], bool]
    pages: Callable[[Path, ReadOptions], Iterator[Page]]
    row_count: Callable[[Path], int | None] = lambda _path: None
    keeps_raw: bool = False
    snapshot: Callable[[Path, Path], None] | None = None


def need_mode(path: Path, name: str, options: ReadOptions) -> str:
    """The mode that the user gave for a file whose format cannot tell.

    Raises:
        BadInputError: none was given.
    """
    if options.mode is None:
        raise BadInputError(
            f"{path} ({name}) does not say which kind of account it is of",
            next_step="give --mode live, or --mode paper for an account with play money",
        )
    return options.mode


def nearest(name: str, known: Iterable[str]) -> str:
    """A suggestion for a misspelt name: " (did you mean 'x'?)", or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


def check_header(path: Path, names: list[str], table: Table) -> list[str]:
    """Refuse a header that cannot be read into the table.

    Returns:
        The unknown columns, which the table's `extra` will carry.

    Raises:
        BadInputError: a name is empty or doubled, a required column is missing, or a column is
            unknown and the table has no `extra` to carry it.
    """
    seen: set[str] = set()
    for name in names:
        if not name or name in seen:
            what = f"has the column '{name}' twice" if name else "has a column without a name"
            raise BadInputError(f"{path} {what}", next_step="name each column once and try again")
        seen.add(name)
    unknown = [name for name in names if name not in table.names]
    missing = [c.name for c in table.columns if c.required and c.name not in seen]
    if missing:
        hints = "".join(nearest(name, unknown) for name in missing[:1])
        raise BadInputError(
            f"{path} has no column {', '.join(missing)}{hints}, which {table.name} requires",
            next_step=f"add the column, or name another table with --table; "
            f"columns of {table.name}: {', '.join(table.names)}",
        )
    if unknown:
        refuse_unknown(path, unknown[0], table)
    return unknown


def refuse_unknown(path: Path, name: str, table: Table) -> None:
    """Raise BadInputError when the table has no `extra` column to carry an unknown one."""
    if "extra" not in table.names:
        raise BadInputError(
            f"{path} has a column '{name}' that {table.name} does not know"
            f"{nearest(name, table.names)}",
            next_step=f"remove or rename it; columns of {table.name}: {', '.join(table.names)}",
        )
