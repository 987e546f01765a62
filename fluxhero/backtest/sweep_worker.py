"""The process that tries combinations of a sweep, as `python -m fluxhero.backtest.sweep_worker request.json`.

It works through a list, a line of results each, and keeps nothing: its memory does not grow with their number.
What takes it down costs the combination at work, which is the first of the list without a line.
"""

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from fluxhero.backtest.asking import targets_of
from fluxhero.backtest.bars import Bars, Int8s
from fluxhero.backtest.contract import Contract
from fluxhero.backtest.fast import swept
from fluxhero.backtest.loading import load, look_in
from fluxhero.backtest.strategy import Named
from fluxhero.backtest.sweep_files import FAILED, read_bars
from fluxhero.backtest.sweep_measures import Yardstick
from fluxhero.backtest.sweeps import SweepPlan
from fluxhero.backtest.trials import OK, REFERENCE
from fluxhero.errors import FluxHeroError

REQUEST_NAME: Final = "request.json"
STARTED_NAME: Final = "started"
LINES_NAME: Final = "lines.jsonl"
_SECONDS_TO_END: Final = 5.0


def targets_name(place: int) -> str:
    """Of the file that holds a combination's targets, where another engine trades them."""
    return f"targets-{place}.npy"


def request_for(
    plan: SweepPlan, combinations: Mapping[int, Named], seconds: float
) -> dict[str, Any]:
    """What a worker is asked for.

    Args:
        plan: the sweep.
        combinations: those to try, by their places.
        seconds: that each may take.
    """
    return {
        "bars": str(plan.bars_path.absolute()),
        "data": plan.data,
        "contract": plan.contract.model_dump_json(),
        "risk_free": plan.risk_free,
        "zone": plan.zone.key,
        "only_targets": plan.engine != REFERENCE,
        "search": plan.search,
        "seconds": seconds,
        "combinations": [(place, asdict(one)) for place, one in combinations.items()],
    }


def main(request_file: Path) -> None:
    """Do what the request says, in its folder."""
    request = json.loads(request_file.read_text(encoding="utf-8"))
    folder, parent = request_file.parent, os.getppid()
    trying = _Trying(request, folder)
    look_in(request["search"])
    (folder / STARTED_NAME).touch()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    with (folder / LINES_NAME).open("a", encoding="utf-8") as lines:
        for place, fields in request["combinations"]:
            if os.getppid() != parent:  # it was killed, and nobody wants the results
                return
            # By a signal, which ends what Python cannot interrupt, too.
            signal.setitimer(signal.ITIMER_REAL, request["seconds"])
            row = trying.row(place, _named(fields))
            signal.setitimer(signal.ITIMER_REAL, 0)
            lines.write(json.dumps({"combination": place, **row}) + "\n")
            lines.flush()
    # Everything is written; a thread that the user's code left behind does not keep us.
    signal.setitimer(signal.ITIMER_REAL, _SECONDS_TO_END)


def lines_of(folder: Path) -> Iterator[dict[str, Any]]:
    """What a worker has written so far; a line that it did not finish is left out."""
    path = folder / LINES_NAME
    if path.exists():
        for line in path.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                yield json.loads(line)


class _Trying:
    """What one request asks of every combination."""

    def __init__(self, request: dict[str, Any], folder: Path) -> None:
        self._bars: Bars = read_bars(Path(request["bars"]), request["data"])
        self._frame = self._bars.frame()
        self._contract = Contract.model_validate_json(request["contract"])
        self._yardstick = Yardstick(
            self._bars, self._contract, request["risk_free"], ZoneInfo(request["zone"])
        )
        self._only_targets = request["only_targets"]
        self._folder = folder
        if not self._only_targets:  # loads compiled code, for which no combination is to be charged
            self._measured(np.zeros(len(self._bars), dtype=np.int8))

    def row(self, place: int, strategy: Named) -> dict[str, Any]:
        """What came of a combination."""
        try:
            targets = targets_of(
                load(strategy.reference, strategy.parameters),
                self._frame,
                allow_short=self._contract.allow_short,
                label=strategy.label,
            )
            only = self._only_targets
            found = self._kept(place, targets) if only else self._measured(targets)
        except FluxHeroError as error:
            return {"outcome": FAILED, "error": error.what}
        return {"outcome": OK, "error": "", **found}

    def _measured(self, targets: Int8s) -> dict[str, Any]:
        found = swept(self._bars, targets, self._contract)
        return self._yardstick.measured(found.equity, found.trades)

    def _kept(self, place: int, targets: Int8s) -> dict[str, Any]:
        """Keep the targets, for an engine that is asked about many at once."""
        np.save(self._folder / targets_name(place), targets, allow_pickle=False)
        return {}


def _named(fields: dict[str, Any]) -> Named:
    parameters = tuple((name, value) for name, value in fields["parameters"])
    return Named(fields["name"], fields["reference"], parameters, fields["code"])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
