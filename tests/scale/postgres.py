"""A PostgreSQL of a test's own: made in a temporary folder, reached by a socket there, gone afterwards."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

START_SECONDS, STOP_SECONDS = 60, 30
_DEBIAN = Path("/usr/lib/postgresql")
_USER = "postgres"


def binaries() -> Path:
    """The folder of `initdb` and `postgres`; the test is skipped where there is none."""
    on_path = shutil.which("initdb")
    places = sorted(_DEBIAN.glob("*/bin"), key=lambda one: int(one.parent.name), reverse=True)
    if on_path:
        places.append(Path(on_path).resolve().parent)
    for place in places:
        if (place / "initdb").exists() and (place / "postgres").exists():
            return place
    pytest.skip("no PostgreSQL here; Debian's package postgresql has it")


@contextmanager
def postgresql() -> Iterator[str]:
    """A running server with an empty database; its URL for Prefect."""
    programs = binaries()
    # Not the test's own folder: PostgreSQL refuses to run as root, and its user may not look in there.
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        as_user = _not_as_root(folder)
        initdb = [str(programs / "initdb"), "-D", str(folder / "db"), "-U", "prefect", "--no-sync"]
        subprocess.run(
            [*as_user, *initdb, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"],
            cwd=folder,
            check=True,
            capture_output=True,
        )
        log = (folder / "log").open("wb")
        server = subprocess.Popen(
            [
                *as_user,
                *(str(programs / "postgres"), "-D", str(folder / "db"), "-k", str(folder)),
                *("-c", "listen_addresses=", "-c", "fsync=off"),
            ],
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait(programs, folder, server)
            yield f"postgresql+asyncpg://prefect@/postgres?host={folder}"
        finally:
            server.terminate()
            try:
                server.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
            log.close()


def _not_as_root(folder: Path) -> list[str]:
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("PostgreSQL does not run as root, and there is no setpriv to run it otherwise")
    try:
        shutil.chown(folder, _USER, _USER)
    except LookupError:
        pytest.skip(f"PostgreSQL does not run as root, and there is no user {_USER}")
    return ["setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups"]


def _wait(programs: Path, folder: Path, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    ready = [str(programs / "pg_isready"), "-h", str(folder), "-U", "prefect", "-d", "postgres"]
    while subprocess.run(ready, capture_output=True, check=False).returncode:
        assert server.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < end, "PostgreSQL takes too long to start"
        time.sleep(0.1)
