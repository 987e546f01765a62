"""From the paths a user names to the files that are ingested: folders and patterns expanded."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fluxhero.errors import BadInputError
from fluxhero.ledger.formats import detect, select


@dataclass(frozen=True, slots=True)
class Found:
    """Files to ingest, each once, and files in folders that no format recognises."""

    files: tuple[Path, ...]
    skipped: tuple[Path, ...]


def expand(paths: Sequence[str], format_name: str | None) -> Found:
    """Find the files.

    A folder stands for the files directly in it that a format recognises (or all of them, when the
    format is named), a pattern for whatever matches it, both in order of their names.

    Raises:
        BadInputError: a path leads to no file, or no path was given.
    """
    files: dict[Path, None] = {}
    skipped: dict[Path, None] = {}
    for path in map(Path, paths):
        if path.is_dir():
            good, bad = _inside(path, format_name)
            files |= dict.fromkeys(good)
            skipped |= dict.fromkeys(bad)
        else:
            files |= dict.fromkeys(_matching(path))
    if not files:
        raise BadInputError("no file to ingest was named", next_step="give one or more paths")
    return Found(tuple(files), tuple(skipped))


def _inside(folder: Path, format_name: str | None) -> tuple[list[Path], list[Path]]:
    inside = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    good = [path for path in inside if _recognised(path, format_name)]
    if not good:
        raise BadInputError(
            f"no file in {folder} is in a format this product knows",
            next_step="name the files in it, and their format with --format",
        )
    return good, [path for path in inside if path not in good]


def _recognised(path: Path, format_name: str | None) -> bool:
    try:
        select(path, format_name) if format_name else detect(path)
    except BadInputError:
        return False
    return True


def _matching(path: Path) -> Iterable[Path]:
    if path.exists() or not any(sign in str(path) for sign in "*?["):
        return [path]
    found = sorted(match for match in _glob(path) if match.is_file())
    if not found:
        raise BadInputError(f"no file matches {path}", next_step="check the pattern")
    return found


def _glob(pattern: Path) -> Iterator[Path]:
    root = Path(pattern.anchor or ".")
    return root.glob(str(pattern.relative_to(root) if pattern.anchor else pattern))
