"""An archive of several batches for tests that damage it: made once, put back before each of them.

The place never changes, for a FluxHero store is known by it.
"""

import atexit
import functools
import shutil
import tempfile
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from fluxhero.archive.manifest import Manifest
from fluxhero.integrity.file_quarantine import quarantine_files
from fluxhero.integrity.passed import Passed
from fluxhero.integrity.repair import repair
from fluxhero.integrity.repair_log import Repair
from fluxhero.integrity.results import Outcome, Result
from fluxhero.integrity.scope import Scope
from fluxhero.integrity.scrub import scrub
from tests import samples
from tests.archive.conftest import make_house
from tests.house import House

NOW = samples.AS_OF


class Archive:
    """A house with three batches and a restored trade, and a check of it."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.now: datetime = NOW

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        return self.house.chain.manifests

    @property
    def mirror(self) -> Path:
        return self.house.data.parent / "mirror"

    @property
    def root(self) -> Path:
        return self.house.archive_dir

    def data_file(self, number: int) -> Path:
        return sorted(self.root.rglob("*.parquet"))[number]

    def manifest(self, number: int) -> Path:
        paths = sorted((self.root / "manifests").glob("*.json"))
        return [path for path in paths if path.name.count(".") == 1][number]

    def event(self, kind: str, number: int = 0) -> Path:
        return sorted((self.root / "manifests").glob(f"*.{kind}*.json"))[number]

    def scope(self, *, deep: bool = True) -> Scope:
        return replace(Scope.of(self.house.settings, now=self.now, deep=deep), now=self.now)

    @property
    def memory_file(self) -> Path:
        return self.house.data / "integrity" / "passed.json"

    def check(self, *, deep: bool = True, days_later: int = 0) -> list[Result]:
        """One check with the memory of the last."""
        self.now += timedelta(days=days_later)
        memory = Passed(self.memory_file)
        scope = self.scope(deep=deep)
        try:
            results = scrub(scope, memory)
        finally:
            scope.workspace.store.close()
        memory.save()
        return results

    def mend(self, *, deep: bool = True) -> list[Repair]:
        """Check, keep copies of what is damaged, and repair."""
        results = self.check(deep=deep)
        scope = self.scope(deep=deep)
        try:
            quarantine_files(scope, results)
            return repair(scope, results)
        finally:
            scope.workspace.store.close()

    def faults(self, *, deep: bool = True, days_later: int = 0) -> dict[str, set[str]]:
        """Rules that are broken or cannot be told → the files at fault, by name."""
        found: dict[str, set[str]] = {}
        for result in self.check(deep=deep, days_later=days_later):
            if result.outcome is not Outcome.PASSED:
                found.setdefault(result.rule.name, set()).add(Path(result.object).name)
        return found


def build(house: House) -> None:
    """Three batches, of which the first has a trade restored."""
    create = (
        samples.create_duckdb_store if house.kind == "duckdb" else samples.create_fluxhero_store
    )
    create(house.store)
    for numbers in ((1, 2, 3, 4, 5), (6, 7, 8, 9), (10, 11, 12)):
        house.add(*numbers)
        house.archive()
    house.restore(trade_ids=[house.key(1)])


def made_in(kind: str, folder: Path) -> Path:
    """Build an archive with a mirror in a folder, and keep a copy to start from."""
    live = folder / "live"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLUXHERO_ARCHIVE_MIRROR_DIR", str(live / "mirror"))
        build(make_house(kind, live, patch))
    shutil.copytree(live, folder / "saved", symlinks=True)
    return folder


@functools.cache
def made(kind: str) -> Path:
    """The one archive of a kind that this process's tests start from."""
    folder = Path(tempfile.mkdtemp(prefix=f"archive-{kind}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return made_in(kind, folder)


def put_back(
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    *,
    mirrored: bool = False,
    folder: Path | None = None,
) -> Archive:
    """The archive as it was made; its mirror is there, and known to the settings only if wanted."""
    place = folder or made(kind)
    shutil.rmtree(place / "live")
    shutil.copytree(place / "saved", place / "live", symlinks=True)
    archive = Archive(make_house(kind, place / "live", monkeypatch))
    if mirrored:
        monkeypatch.setenv("FLUXHERO_ARCHIVE_MIRROR_DIR", str(archive.mirror))
    return archive
