"""Reports as files for people: where they lie, and what their names say."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from fluxhero.durable import storage_errors, write_atomically

FOLDER: Final = "reports"
SUFFIXES: Final = (".html", ".pdf")
_LATEST: Final = "latest"


@dataclass(frozen=True, slots=True)
class ReportFile:
    """A report; `kind` is what its name begins with: check, evaluation or tearsheet."""

    path: Path
    kind: str
    written_at: datetime
    bytes: int

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    @property
    def is_latest(self) -> bool:
        """Whether it is the copy that always has the newest one."""
        return self.path.stem.endswith(f"-{_LATEST}")


def write_report(data_dir: Path, kind: str, run: str, page: str) -> Path:
    """Write a report, and a second time as the latest of its kind; returns where the first one is.

    Raises:
        StorageIOError: the disk is full or refuses.
    """
    path = data_dir / FOLDER / f"{kind}-{run}.html"
    for place in (path, path.with_name(f"{kind}-{_LATEST}.html")):
        write_atomically(place, page.encode())
    return path


def reports(data_dir: Path) -> list[ReportFile]:
    """Every report, newest first.

    Raises:
        StorageIOError: the folder cannot be read.
    """
    folder = data_dir / FOLDER
    if not folder.is_dir():
        return []
    with storage_errors("list", folder):
        found = [
            ReportFile(
                path,
                path.name.split("-", 1)[0],
                datetime.fromtimestamp(path.stat().st_mtime, UTC),
                path.stat().st_size,
            )
            for path in folder.iterdir()
            if path.suffix in SUFFIXES and path.name[0] != "." and path.is_file()
        ]
    return sorted(found, key=lambda report: (report.written_at, report.name), reverse=True)
