"""Which documents of an archive were seen before, so that one that is removed or exchanged later shows.

No other document names an event, so an archive alone cannot prove that one is missing. This list can,
from the first check on that saw it. It is a memory: without it a check begins a new one.
"""

import logging
from collections.abc import Collection, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from fluxhero.durable import storage_errors, write_atomically

logger = logging.getLogger(__name__)
KNOWN_FILE = "documents.json"


class KnownDocuments(BaseModel):
    """Content of `documents.json`: the archive's first manifest, and name → SHA-256 of each document."""

    model_config = ConfigDict(frozen=True)

    first_manifest: str = ""
    documents: dict[str, str] = {}


def known_documents(home: Path, first_manifest: str) -> Mapping[str, str]:
    """Name → SHA-256 of the documents that earlier checks of this archive saw.

    Args:
        home: folder of what the checks keep.
        first_manifest: hash of the archive's first manifest; of another archive nothing is known.
    """
    path = home / KNOWN_FILE
    if not path.exists():
        return {}
    with storage_errors("read", path):
        content = path.read_bytes()
    try:
        known = KnownDocuments.model_validate_json(content)
    except ValidationError as error:
        logger.warning("%s is damaged (%s): it is begun anew", path, error.errors()[0]["msg"])
        return {}
    return known.documents if known.first_manifest in {first_manifest, ""} else {}


def remember_documents(home: Path, first_manifest: str, documents: Mapping[str, str]) -> None:
    """Write the list; does nothing where it would be the same."""
    if dict(documents) == dict(known_documents(home, first_manifest)):
        return
    known = KnownDocuments(first_manifest=first_manifest, documents=dict(documents))
    write_atomically(home / KNOWN_FILE, known.model_dump_json(indent=1).encode() + b"\n")


def forget_documents(home: Path, names: Collection[str]) -> None:
    """Take documents off the list that a repair has made anew; the next check learns them again."""
    path = home / KNOWN_FILE
    if not path.exists():
        return
    with storage_errors("read", path):
        known = KnownDocuments.model_validate_json(path.read_bytes())
    documents = {name: sha for name, sha in known.documents.items() if name not in names}
    if documents != known.documents:
        kept = known.model_copy(update={"documents": documents})
        write_atomically(path, kept.model_dump_json(indent=1).encode() + b"\n")
