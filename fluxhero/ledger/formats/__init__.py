"""The formats `fluxhero ingest` reads: one module a format, one registry, found by content.

A new format is a module with a `Format` in it and a line in `FORMATS`. The order matters: the first
format that recognises a file gets it, so the more particular ones come first.
"""

from pathlib import Path

from fluxhero.errors import BadInputError
from fluxhero.ledger.formats.alpaca_activities import ALPACA_ACTIVITIES
from fluxhero.ledger.formats.alpaca_orders import ALPACA_ORDERS
from fluxhero.ledger.formats.contract import Format, Page, ReadOptions, nearest
from fluxhero.ledger.formats.csv_text import CSV
from fluxhero.ledger.formats.fluxhero_archive import FLUXHERO_ARCHIVE
from fluxhero.ledger.formats.fluxhero_store import FLUXHERO
from fluxhero.ledger.formats.freqtrade import FREQTRADE
from fluxhero.ledger.formats.ibkr_flex import IBKR_FLEX
from fluxhero.ledger.formats.json_lines import JSON_LINES
from fluxhero.ledger.formats.parquet import PARQUET

__all__ = ["FORMATS", "Format", "Page", "ReadOptions", "detect", "named", "select"]

FORMATS: dict[str, Format] = {
    known.name: known
    for known in (
        FREQTRADE,
        FLUXHERO,
        FLUXHERO_ARCHIVE,
        PARQUET,
        IBKR_FLEX,
        ALPACA_ORDERS,
        ALPACA_ACTIVITIES,
        IBKR_FLEX,
        JSON_LINES,
        CSV,
    )
}
_CALLED = {".csv": CSV, ".jsonl": JSON_LINES}
_HEAD_BYTES = 65_536


def named(name: str) -> Format:
    """The format of that name; BadInputError names the nearest one when there is none."""
    try:
        return FORMATS[name]
    except KeyError:
        raise BadInputError(
            f"there is no format '{name}'{nearest(name, FORMATS)}",
            next_step=f"give --format one of {', '.join(FORMATS)}, or leave it out",
        ) from None


def detect(path: Path) -> Format:
    """Tell a file's format by its content.

    Raises:
        BadInputError: there is no such file, it is empty, or no format recognises it.
    """
    if found := _by_content(path):
        return found
    known = "; ".join(f"{known.name}: {known.summary}" for known in FORMATS.values())
    raise BadInputError(
        f"{path} is in no format this product knows ({known})",
        next_step="convert it, or name its format with --format",
    )


def select(path: Path, name: str | None) -> Format:
    """The format the user named, else the one detected; either way the file must be readable.

    A file that no format recognises is read as what it is called, `.csv` or `.jsonl`: that format
    says precisely what is wrong with it.
    """
    if name is None:
        called = _CALLED.get(path.suffix.lower())
        return (_by_content(path) or called) if called else detect(path)
    chosen = named(name)
    _head(path)
    return chosen


def _by_content(path: Path) -> Format | None:
    head = _head(path)
    return next((known for known in FORMATS.values() if known.recognises(path, head)), None)


def _head(path: Path) -> bytes:
    if path.is_dir():
        raise BadInputError(f"{path} is a folder", next_step="name the files in it")
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except FileNotFoundError:
        raise BadInputError(f"there is no file {path}", next_step="check the path") from None
    except OSError as error:
        raise BadInputError(
            f"{path} cannot be read: {error.strerror}", next_step="check its permissions"
        ) from error
    if not head.strip():
        raise BadInputError(f"{path} is empty", next_step="check that it was written completely")
    return head
