"""Plots as PNG files, for a page of another server to show: each is found by a name that nobody can guess.

An image in a page comes with no token, and a token in an address is written into logs. So the name is the
permission, for that one picture: it has 128 random bits and is in no list.
"""

import re
import secrets
from pathlib import Path
from typing import Final

from fluxhero.durable import make_folder, read_bytes, storage_errors, write_atomically

FOLDER: Final = "plots"
_MOST: Final = 200  # the oldest go first
_NAME: Final = re.compile(r"[a-z]+-[0-9a-f]{32}\.png")


def keep_plot(data_dir: Path, kind: str, picture: bytes) -> Path:
    """Keep a picture under a new name, and remove the oldest of too many.

    Args:
        data_dir: the data folder.
        kind: what the name begins with, in lower-case letters.
        picture: PNG.

    Raises:
        StorageIOError: the disk is full or refuses.
    """
    folder = data_dir / FOLDER
    make_folder(folder)
    path = folder / f"{kind}-{secrets.token_hex(16)}.png"
    write_atomically(path, picture)
    with storage_errors("clear", folder):
        kept = sorted(folder.glob("*.png"), key=lambda one: one.stat().st_mtime_ns)
        for old in kept[:-_MOST]:
            old.unlink(missing_ok=True)
    return path


def read_plot(data_dir: Path, name: str) -> bytes | None:
    """A picture by its name; None if there is none of it.

    Raises:
        StorageIOError: it cannot be read.
    """
    path = data_dir / FOLDER / name
    if not _NAME.fullmatch(name) or not path.is_file():
        return None
    return read_bytes(path)
