"""A sweep's plan as bytes, for whatever hands parts of it to other threads, processes or machines.

Task runners walk through what a task is given, and hash it: four seconds for the plan of 100,000
combinations, once for each part. Bytes are handed on as they are.
"""

import pickle
import zlib
from dataclasses import dataclass
from typing import Self

from fluxhero.backtest.sweeps import SweepPlan
from fluxhero.errors import ConfigurationError
from fluxhero.release import release


@dataclass(frozen=True)
class PackedPlan:
    """A plan, made by this very release, that unpacks where the data folder is at the same path.

    Attributes:
        content: the plan.
        release: that made it.
    """

    content: bytes
    release: str

    @classmethod
    def of(cls, plan: SweepPlan) -> Self:
        """Pack a plan."""
        return cls(zlib.compress(pickle.dumps(plan), level=1), release())

    def plan(self) -> SweepPlan:
        """Unpack it.

        Raises:
            ConfigurationError: this process is of another release, or does not see the data folder.
        """
        if self.release != release():
            raise ConfigurationError(
                f"this worker runs release {release()}, and the sweep was planned by {self.release}",
                next_step="install the same release on every machine that computes",
            )
        plan: SweepPlan = pickle.loads(zlib.decompress(self.content))  # noqa: S301 - made by `of`
        if not plan.bars_path.is_file():
            raise ConfigurationError(
                f"{plan.bars_path} is not there, on the machine that was to do a part of the sweep",
                next_step="give every machine that computes the same data folder, at the same path",
            )
        return plan
