"""The process that runs the user's strategies, as `python -m fluxhero.backtest.signal_worker request.json`.

It works through what `fluxhero.backtest.signals` asks for, one file of results a strategy, so that a strategy that
takes the process with it costs only its own.
"""

import json
import re
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fluxhero.backtest.asking import targets_of
from fluxhero.backtest.bars import Bars, Int8s
from fluxhero.backtest.loading import class_of, load, look_in
from fluxhero.backtest.look_ahead import compared
from fluxhero.backtest.strategy import Named, description
from fluxhero.errors import BadInputError

if TYPE_CHECKING:
    import pandas as pd

REQUEST_NAME: Final = "request.json"
STARTED_NAME: Final = "started"
BARS_NAME: Final = "bars.npy"
_SECONDS_TO_END: Final = 2.0


def result_name(task: str, place: int) -> str:
    """Of the file that says what came of a strategy; it is written last."""
    return f"{task}-{place}.json"


def targets_name(place: int) -> str:
    """Of the file that holds a strategy's targets."""
    return f"targets-{place}.npy"


def main(request_file: Path) -> None:
    """Do what the request says, in its folder."""
    request = json.loads(request_file.read_text(encoding="utf-8"))
    worker = _Worker(request, request_file.parent)
    look_in(request["search"])
    (worker.folder / STARTED_NAME).touch()
    for place, fields in request["strategies"]:
        # By a signal, which ends what Python cannot interrupt, too; the strategy before may have had it.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, request["seconds"])
        answer = _answer(worker.task, place, fields)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _write(worker.folder / result_name(request["task"], place), answer)
    # Everything is written; a thread that the user's code left behind does not keep us.
    signal.setitimer(signal.ITIMER_REAL, _SECONDS_TO_END)


def _write(path: Path, answer: dict[str, Any]) -> None:
    """As a whole or not at all; not durably, for whoever reads it is waiting, and then it is removed."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(answer), encoding="utf-8")
    partial.replace(path)


def _answer(
    task: Callable[[int, dict[str, Any]], dict[str, Any]], place: int, fields: dict[str, Any]
) -> dict[str, Any]:
    try:
        return task(place, fields)
    except BadInputError as error:
        return {"error": [error.what, error.next_step]}


class _Worker:
    """What one request asks for."""

    def __init__(self, request: dict[str, Any], folder: Path) -> None:
        self.folder = folder
        self._request = request
        self.task = {"describe": self._describe, "targets": self._targets, "check": self._check}[
            request["task"]
        ]
        if request["task"] != "describe":
            values = np.load(folder / BARS_NAME, allow_pickle=False)
            self._bars = Bars(request["symbol"], request["timeframe"], *values)

    def _describe(self, _place: int, fields: dict[str, Any]) -> dict[str, Any]:
        return asdict(description(fields["name"], fields["reference"]))

    def _targets(self, place: int, fields: dict[str, Any]) -> dict[str, Any]:
        strategy = _named(fields)
        class_of(strategy.reference)
        frame = self._frame
        _forget_peak()
        started = perf_counter()
        targets = self._made(strategy, frame)
        seconds = perf_counter() - started
        np.save(self.folder / targets_name(place), targets)
        return {"seconds": seconds, "peak_mb": _peak_mb()}

    def _check(self, place: int, fields: dict[str, Any]) -> dict[str, Any]:
        strategy = _named(fields)
        full = np.load(self.folder / targets_name(place), allow_pickle=False)
        # From values of their own each time: nothing leads to the bars that were left away.
        return asdict(
            compared(full, lambda known: self._made(strategy, self._bars.head(known).frame()))
        )

    @cached_property
    def _frame(self) -> "pd.DataFrame":
        return self._bars.frame()

    def _made(self, strategy: Named, frame: "pd.DataFrame") -> Int8s:
        return targets_of(
            load(strategy.reference, strategy.parameters),
            frame,
            allow_short=self._request["allow_short"],
            label=strategy.label,
        )


def _named(fields: dict[str, Any]) -> Named:
    parameters = tuple((name, value) for name, value in fields["parameters"])
    return Named(fields["name"], fields["reference"], parameters)


def _forget_peak() -> None:
    with suppress(
        OSError
    ):  # not every system has it, or lets us; the peak is then that of all so far
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_mb() -> float:
    """Of this program; `ru_maxrss` would count that of the process that started it, too."""
    status = Path("/proc/self/status")
    if not status.exists():  # pragma: no cover - elsewhere than on Linux
        import psutil

        return float(psutil.Process().memory_info().rss) / 1024**2
    found = re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii"), re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


if __name__ == "__main__":
    main(Path(sys.argv[1]))
