"""A store whose setting names the other kind: told by the file's first bytes, once opening it failed.

Only then, and not before: closing a file drops the locks that this process has on it.
"""

from pathlib import Path

from config.settings import StoreKind, variable
from fluxhero.errors import ForeignStoreError

_NAMES: dict[StoreKind, str] = {"duckdb": "DuckDB", "sqlite": "SQLite"}
_MAGIC: dict[StoreKind, tuple[int, bytes]] = {
    "duckdb": (8, b"DUCK"),
    "sqlite": (0, b"SQLite format 3\x00"),
}


def other_kind(path: Path, taken_for: StoreKind) -> ForeignStoreError | None:
    """What to say of a file that is a store of the other kind; None when it is not one."""
    kind: StoreKind = "sqlite" if taken_for == "duckdb" else "duckdb"
    offset, magic = _MAGIC[kind]
    try:
        with path.open("rb") as file:
            beginning = file.read(offset + len(magic))
    except OSError:
        return None
    if beginning[offset:] != magic:
        return None
    return ForeignStoreError(
        f"{path} is a {_NAMES[kind]} store and was opened as a {_NAMES[taken_for]} store",
        next_step=f"write {variable('store_url')}={kind}:///{path}",
    )
