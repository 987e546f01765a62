"""The engines that are compared: what each is called, which release, and where its lock and runner lie.

Whatever is particular to one engine is in its runner, `runners/{name}_runner.py`. The release is that of
the lock; `make engine-locks` resolves the locks afresh from the `.in` files beside them.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from fluxhero.durable import read_bytes, sha256
from fluxhero.errors import BadInputError

_HERE: Final = Path(__file__).parent


@dataclass(frozen=True)
class Engine:
    """One third-party engine.

    Attributes:
        name: ours, short.
        distribution: what it is called on the package index.
        oldest, newest: versions of Python that its lock is for.
    """

    name: str
    distribution: str
    oldest: tuple[int, int]
    newest: tuple[int, int]

    @property
    def runner(self) -> Path:
        """The file that runs its jobs."""
        return _HERE / "runners" / f"{self.name}_runner.py"

    @property
    def lock(self) -> Path:
        """Every package of its environment, with hashes."""
        return _HERE / "locks" / f"{self.name}.txt"

    @property
    def lock_digest(self) -> str:
        """SHA-256 of the lock."""
        return sha256(self.lock)

    @cached_property
    def version(self) -> str:
        """The release that the lock names."""
        pinned = f"{self.distribution}=="
        for line in read_bytes(self.lock).decode().splitlines():
            if line.replace("_", "-").startswith(pinned):
                return line.removesuffix("\\").strip().partition("==")[2]
        raise ValueError(f"{self.lock} does not name {self.distribution}")


ENGINES: Final = (
    Engine("backtrader", "backtrader", (3, 11), (3, 13)),
    Engine("vectorbt", "vectorbt", (3, 11), (3, 13)),
    Engine("zipline", "zipline-reloaded", (3, 11), (3, 13)),
    Engine("backtesting", "backtesting", (3, 11), (3, 13)),
    Engine("bt", "bt", (3, 11), (3, 13)),
    Engine("nautilus", "nautilus-trader", (3, 12), (3, 13)),
)


def engine_named(name: str) -> Engine:
    """The engine of this name.

    Raises:
        BadInputError: there is none.
    """
    for engine in ENGINES:
        if engine.name == name:
            return engine
    known = ", ".join(engine.name for engine in ENGINES)
    raise BadInputError(f"there is no engine {name!r}", next_step=f"name one of: {known}")
