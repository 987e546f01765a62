"""Prefect's UI, kept to this machine: a copy of its files whose pages may talk to our server and nobody else.

The newer UI asks a host on the internet for its analytics' configuration at every page, whether telemetry
is off or not. A Content-Security-Policy in the page itself makes the browser refuse that. The server serves
a copy of its UI anyway, and leaves one alone that is already marked as being of its version.
"""

import logging
import shutil
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from fluxhero.durable import read_bytes, storage_errors, write_atomically
from fluxhero.errors import NightShiftError, StorageIOError

logger = logging.getLogger(__name__)

STATIC_DIRECTORY: Final = "PREFECT_UI_STATIC_DIRECTORY"
_BASE_URL: Final = "/v2"
_PLACEHOLDER: Final = "/PREFECT_UI_SERVE_BASE_REPLACE_PLACEHOLDER"
_FILLED_IN: Final = frozenset({".html", ".css", ".js", ".json", ".txt"})  # as the server does
_MARK: Final = "UI_SERVE_BASE"
_HEAD: Final = "<head>"


def ui_environment(folder: Path, api_url: str) -> dict[str, str]:
    """Make the copy where it is not there yet, and give the server's environment for it.

    Where it cannot be made, the server starts all the same, with pages as Prefect ships them.

    Args:
        folder: where the copies of both UIs lie.
        api_url: of the server's API, as the browser reaches it.
    """
    copy, mark = folder / "v2", f"v2:{version('prefect')}:{_BASE_URL}"
    try:
        policy = _policy(api_url)
        if not _is_current(copy, mark, policy):
            _make(copy, mark, policy)
    except (StorageIOError, NightShiftError) as error:
        logger.warning("Prefect's UI may ask hosts on the internet: %s", error)
    return {STATIC_DIRECTORY: str(folder), "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false"}


def _policy(api_url: str) -> str:
    """The tag that names whom a page may ask: where it came from, and the API."""
    parts = urlsplit(api_url)
    api = f"{parts.scheme}://{parts.netloc}"
    sockets = f"{'wss' if parts.scheme == 'https' else 'ws'}://{parts.netloc}"
    allowed = f"connect-src 'self' {api} {sockets}; form-action 'self'; base-uri 'self'"
    return f'<meta http-equiv="Content-Security-Policy" content="{allowed}">'


def _is_current(copy: Path, mark: str, policy: str) -> bool:
    marked, index = copy / _MARK, copy / "index.html"
    if not (marked.is_file() and index.is_file()):
        return False
    return read_bytes(marked).decode() == mark and policy in read_bytes(index).decode()


def _make(copy: Path, mark: str, policy: str) -> None:
    """Copy the UI, whole or not at all: the mark is written last, and without it the server makes its own."""
    source = _installed()
    with storage_errors("copy Prefect's UI to", copy):
        if copy.exists():
            shutil.rmtree(copy)
        shutil.copytree(source, copy)
    for path in (path for path in copy.rglob("*") if path.suffix in _FILLED_IN):
        text = read_bytes(path).decode()
        filled = text.replace(_PLACEHOLDER, _BASE_URL)
        if path == copy / "index.html":
            filled = filled.replace(_HEAD, f"{_HEAD}\n    {policy}", 1)
        if filled != text:
            with storage_errors("write", path):
                path.write_text(filled, encoding="utf-8")
    write_atomically(copy / _MARK, mark.encode())


def _installed() -> Path:
    """Where the installed Prefect keeps its newer UI; found without importing Prefect."""
    found = find_spec("prefect")
    folders = () if found is None else tuple(found.submodule_search_locations or ())
    for folder in folders:
        source = Path(folder) / "server" / "ui-v2"
        if (source / "index.html").is_file():
            return source
    raise NightShiftError(
        "Prefect's UI is not where this release looks for it",
        next_step="install the versions of requirements.lock again: make setup",
    )
