"""The demo's folder: fresh each time, and never one that holds anything else; and what it breaks."""

import shutil
from pathlib import Path

from fluxhero.errors import BadInputError

MARKER = ".fluxhero-demo"


def fresh_folder(folder: Path) -> Path:
    """Make an empty folder for the demo, replacing that of an earlier one.

    Raises:
        BadInputError: there is something else.
    """
    folder = folder.expanduser().resolve()
    if folder.exists():
        earlier = (folder / MARKER).is_file()
        if not earlier and (not folder.is_dir() or any(folder.iterdir())):
            raise BadInputError(
                f"{folder} exists and is not an earlier demo",
                next_step="give another one with --folder, or remove it yourself",
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / MARKER).write_text("Made by `fluxhero demo`, which replaces this folder.\n")
    return folder


def flip_a_bit(archive: Path) -> Path:
    """Flip one bit in the middle of the archive's first data file, as a dying disk would."""
    path = min((archive / "trades").rglob("*.parquet"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return path
