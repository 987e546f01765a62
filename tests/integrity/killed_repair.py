"""Repairs killed with SIGKILL between any two steps: `python -m tests.integrity.killed_repair KIND FOLDER POINTS`.

The folder is one of `archives.made_in`. Each run is a process forked from this one, which itself never opens
anything, and dies before its n-th call of those that make something durable. Prints what is wrong as JSON.
"""

import json
import shutil
import signal
import sys
from functools import partial
from pathlib import Path

import pytest

from fluxhero.integrity.repair import repair
from tests.integrity.archives import Archive, put_back
from tests.integrity.test_scrub import cut, flip, flip_in_text
from tests.killed import dying_before, in_child

DURABLE = ("fsync", "replace", "link", "unlink")


def plant(archive: Archive) -> None:
    """Faults of every kind that a repair mends by replacing, making or removing a file."""
    flip(archive.data_file(0), 0.02)
    flip_in_text(archive.manifest(1), '"rows": 4', '"rows": 2')
    archive.event("restored").unlink()
    archive.data_file(2).rename(archive.data_file(2).with_name("mine.parquet"))
    cut(archive.root / "holds.json", 9)
    (archive.root / ".staging" / "x.parquet.partial").write_bytes(b"half")


def files(archive: Archive) -> dict[str, bytes]:
    """The archive's files, but for what is on its way to a name."""
    return {
        str(path): path.read_bytes()
        for path in archive.root.rglob("*")
        if path.is_file() and ".lock" not in path.name and not path.name.endswith(".partial")
    }


def mend(archive: Archive, kill_at: int | None, counted: Path | None = None) -> None:
    """Check, then repair; die before so many durable calls."""
    results = archive.check()
    calls = dying_before(kill_at, DURABLE)
    done = repair(archive.scope(), results)
    if not all(each.ok for each in done):
        raise RuntimeError(str(done))
    if counted:
        counted.write_text(str(calls()))


def judge(archive: Archive, sound: dict[str, bytes], planted: dict[str, bytes]) -> list[str]:
    """What a killed repair lost: a file that is neither as it was nor mended, or an original that is gone."""
    now = files(archive)
    wrong = [
        f"{path} is neither as it was nor mended"
        for path, content in now.items()
        if content not in {sound.get(path), planted.get(path)}
    ]
    kept = {
        path.read_bytes()
        for path in (archive.house.data / "quarantine").rglob("*")
        if path.is_file()
    }
    kept |= set(now.values())
    wrong += [f"{path} as it was is gone" for path, was in planted.items() if was not in kept]
    wrong += [f"{path} is gone" for path in sound.keys() & planted.keys() if path not in now]
    return wrong


def main() -> None:
    kind, folder, points = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    patch = pytest.MonkeyPatch()
    again = partial(put_back, kind, patch, mirrored=True, folder=folder)
    sound = files(again())
    plant(again())
    shutil.rmtree(folder / "saved")
    shutil.copytree(folder / "live", folder / "saved")
    archive = again()
    planted = files(archive)
    count = folder / "count"
    wrong: list[str] = []
    if in_child(partial(mend, archive, None, count)) != 0:
        wrong.append("a repair that nobody killed failed")
    total = int(count.read_text())
    kills = 0
    for step in range(points):
        kill_at = step * (total - 1) // max(1, points - 1)
        archive = again()
        code = in_child(partial(mend, archive, kill_at))
        kills += code == -signal.SIGKILL
        lost = judge(archive, sound, planted)
        if in_child(partial(mend, archive, None)) != 0:
            lost.append("the repair after it failed")
        if files(archive) != sound:
            lost.append("the repair after it did not mend everything")
        wrong += [f"killed at {kill_at} of {total}: {each}" for each in lost]
    print(json.dumps({"kills": kills, "wrong": wrong}))  # noqa: T201


if __name__ == "__main__":
    main()
