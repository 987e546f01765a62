"""Single bits flipped at random in an archive: every one of them must be found, in the file it is in.

`python -m tests.integrity.flips --flips 500 --seed 1 --out docs/bit-flips.json` flips so many, one at a
time, and writes the figures beside as a page of Markdown (`make flips`). Each check is a deep one that remembers
nothing of an earlier one.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from fluxhero.integrity.results import Outcome
from tests import samples
from tests.archive.conftest import KINDS, make_house
from tests.house import House
from tests.integrity.archives import Archive

FILES = ("data file", "manifest", "event")


@dataclass(frozen=True)
class Flip:
    """One flipped bit and what the check said."""

    store: str
    kind: str
    file: str
    byte: int
    bit: int
    rules: tuple[str, ...]
    named: bool

    @property
    def found(self) -> bool:
        return bool(self.rules)


@contextmanager
def sample_archive(kind: str, folder: Path) -> Iterator[Archive]:
    """An archive with every kind of value in it, a correction, a restored trade, and events of each kind."""
    with pytest.MonkeyPatch.context() as patch:
        house = make_house(kind, folder, patch)
        samples.write_sample(kind, house.store)
        house.archive()
        house.restore(trade_ids=[_some_trade(house)], hold_days=0)
        house.archive()
        yield Archive(house)


def _some_trade(house: House) -> str:
    key = sorted(key for key in house.look().archived if not key.startswith("orders/"))[0]
    return key.removeprefix("trades/") if house.kind == "duckdb" else key


def files_of(archive: Archive) -> dict[str, list[Path]]:
    """Kind → the archive's files of that kind."""
    documents = sorted((archive.root / "manifests").glob("*.json"))
    return {
        "data file": sorted(archive.root.rglob("*.parquet")),
        "manifest": [path for path in documents if path.name.count(".") == 1],
        "event": [path for path in documents if path.name.count(".") > 1],
    }


def play(archive: Archive, flips: int, rng: random.Random) -> list[Flip]:
    """Flip so many bits, one at a time."""
    files = files_of(archive)
    results = []
    for _ in range(flips):
        kind = rng.choices(FILES, (3, 1, 1))[0]
        path = rng.choice(files[kind])
        sound = path.read_bytes()
        byte, bit = rng.randrange(len(sound)), rng.randrange(8)
        content = bytearray(sound)
        content[byte] ^= 1 << bit
        path.write_bytes(content)
        shutil.rmtree(archive.house.data / "integrity", ignore_errors=True)
        wrong = [result for result in archive.check() if result.outcome is not Outcome.PASSED]
        path.write_bytes(sound)
        results.append(
            Flip(
                archive.house.kind,
                kind,
                path.name,
                byte,
                bit,
                tuple(sorted({result.rule.name for result in wrong})),
                any(result.file == path for result in wrong),
            )
        )
    return results


def table(results: Sequence[Flip]) -> str:
    """Markdown: flips by store and kind of file."""
    lines = [
        "| store | file | bits flipped | found | in the very file |",
        "|---|---|---:|---:|---:|",
    ]
    for store in KINDS:
        for kind in FILES:
            chosen = [flip for flip in results if (flip.store, flip.kind) == (store, kind)]
            lines.append(f"| {store} | {kind} | {_figures(chosen)} |")
    lines.append(f"| **all** | | {_figures(results)} |")
    return "\n".join(lines)


def _figures(results: Sequence[Flip]) -> str:
    found, named = sum(f.found for f in results), sum(f.named for f in results)
    return f"{len(results)} | {found} | {named}"


def write_report(results: Sequence[Flip], out: Path, command: str, seconds: float) -> None:
    """Write `out` and the page beside it."""
    rules = Counter(rule for flip in results for rule in flip.rules)
    document = {
        "command": command,
        "flips": len(results),
        "found": sum(flip.found for flip in results),
        "flips_in_detail": [asdict(flip) for flip in results],
    }
    out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    counts = "\n".join(f"| `{rule}` | {count} |" for rule, count in rules.most_common())
    text = f"""# Bit flips

{len(results)} single bits were flipped in an archive, one at a time; {document["found"]} were found.

{table(results)}

| rule that found it | flips |
|---|---:|
{counts}

Made by `{command} --out {out}` in {seconds:.0f} seconds.

- Each bit is flipped in a file as it lies on disk, a deep check is run, and the file is put back. The check knows
  nothing from an earlier one, and the archive has no mirror.
- A data file is proven by the SHA-256 in its manifest. A manifest is proven by the manifest after it, the last
  one by `archive-head.json` and its events. An event carries a checksum of its own.
- A flip may break several rules: most bits in a page also fail that page's checksum.
"""
    out.with_suffix(".md").write_text(text, encoding="utf-8")


def run(flips: int, seed: int, folder: Path) -> list[Flip]:
    """Half of the flips on each kind of store."""
    results: list[Flip] = []
    for place, kind in enumerate(KINDS):
        with sample_archive(kind, folder / kind) as archive:
            share = flips // 2 + (flips % 2 if place == 0 else 0)
            results += play(archive, share, random.Random(f"{seed} {kind}"))
    return results


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.integrity.flips", description=__doc__)
    parser.add_argument("--flips", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bit-flips-") as folder:
        results = run(arguments.flips, arguments.seed, Path(folder))
    seconds = time.monotonic() - began
    sys.stdout.write(table(results) + f"\nin {seconds:.0f} s\n")
    for flip in results:
        if not flip.named:
            sys.stdout.write(json.dumps(asdict(flip)) + "\n")
    if arguments.out:
        command = (
            f"python -m tests.integrity.flips --flips {arguments.flips} --seed {arguments.seed}"
        )
        write_report(results, arguments.out, command, seconds)
    return 0 if all(flip.found for flip in results) else 1


if __name__ == "__main__":
    sys.exit(main())
