"""A setting that names another file than a store of its kind: told by the first bytes, once opening failed.

Only then, and not before: closing a file drops the locks that this process has on it.
"""

from pathlib import Path

from config.settings import StoreKind, variable
from fluxhero.errors import ForeignStoreError

_NAMES: dict[StoreKind, str] = {"duckdb": "DuckDB", "sqlite": "SQLite"}
_OWN: dict[StoreKind, str] = {"duckdb": "the pipeline's", "sqlite": "the bot's"}
_MAGIC: dict[StoreKind, tuple[int, bytes]] = {
    "duckdb": (8, b"DUCK"),
    "sqlite": (0, b"SQLite format 3\x00"),
}


def foreign_file(path: Path, taken_for: StoreKind) -> ForeignStoreError | None:
    """What to say of a file that does not begin as a store of this kind; None when it does."""
    beginning = _beginning(path)
    if beginning is None or _is(taken_for, beginning):
        return None
    other: StoreKind = "sqlite" if taken_for == "duckdb" else "duckdb"
    if _is(other, beginning):
        return ForeignStoreError(
            f"{path} is a {_NAMES[other]} store and was opened as a {_NAMES[taken_for]} store",
            next_step=f"write {variable('store_url')}={other}:///{path}",
        )
    return ForeignStoreError(
        f"{path} is no {_NAMES[taken_for]} database",
        next_step=f"check {variable('store_url')}; if this is {_OWN[taken_for]} own file, it is "
        "damaged: recover it from a backup",
    )


def _beginning(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(max(offset + len(magic) for offset, magic in _MAGIC.values()))
    except OSError:
        return None


def _is(kind: StoreKind, beginning: bytes) -> bool:
    offset, magic = _MAGIC[kind]
    return beginning.startswith(magic, offset)
