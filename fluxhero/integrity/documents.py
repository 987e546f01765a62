"""Which documents of an archive were seen before, so that one that is removed or exchanged later shows.

No other document names an event, so an archive alone cannot prove that one is missing. This list can,
from the first check on that saw it. It is a memory: without it a check begins a new one.
"""

import logging
from collections.abc import Collection, Mapping
from pathlib import Path

from pydantic import Field, ValidationError

from fluxhero.archive.manifest import Sealed
from fluxhero.durable import read_bytes, write_atomically

logger = logging.getLogger(__name__)
KNOWN_FILE = "documents.json"


class KnownDocuments(Sealed):
    """Content of `documents.json`: the archive's first manifest, and name → SHA-256 of each document."""

    first_manifest: str = ""
    documents: dict[str, str] = Field(default_factory=dict)


def known_documents(home: Path, first_manifest: str) -> Mapping[str, str]:
    """Name → SHA-256 of the documents that earlier checks of this archive saw.

    Args:
        home: folder of what the checks keep.
        first_manifest: hash of the archive's first manifest; of another archive nothing is known.
    """
    known = _read(home / KNOWN_FILE)
    return known.documents if known.first_manifest in {first_manifest, ""} else {}


def remember_documents(home: Path, first_manifest: str, documents: Mapping[str, str]) -> None:
    """Write the list; does nothing where it would be the same."""
    if dict(documents) != dict(known_documents(home, first_manifest)):
        _write(home, KnownDocuments(first_manifest=first_manifest, documents=dict(documents)))


def forget_documents(home: Path, names: Collection[str]) -> None:
    """Take documents off the list that a repair has made anew; the next check learns them again."""
    known = _read(home / KNOWN_FILE)
    documents = {name: sha for name, sha in known.documents.items() if name not in names}
    if documents != known.documents:
        _write(home, known.model_copy(update={"documents": documents}))


def _read(path: Path) -> KnownDocuments:
    """The list; a new one where it is damaged, for it would speak against sound documents."""
    if not path.exists():
        return KnownDocuments()
    content = read_bytes(path)
    try:
        known = KnownDocuments.model_validate_json(content)
    except ValidationError as error:
        logger.warning("%s is damaged (%s): it is begun anew", path, error.errors()[0]["msg"])
        return KnownDocuments()
    if not known.intact:
        logger.warning("%s was edited or damaged: it is begun anew", path)
        return KnownDocuments()
    return known


def _write(home: Path, known: KnownDocuments) -> None:
    write_atomically(home / KNOWN_FILE, known.sealed().to_bytes())
