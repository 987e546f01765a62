"""The targets of strategies, worked out in a process that may hang, crash or exit without harm to this one.

Whether a strategy peeks is found out on the way; `fluxhero.backtest.look_ahead` says how.
"""

import json
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from fluxhero.backtest.bars import Bars, Int8s
from fluxhero.backtest.contract import Contract
from fluxhero.backtest.honesty import Peek, Verdict, verdict
from fluxhero.backtest.isolation import Bounds, Ended, Outcome, run_isolated
from fluxhero.backtest.loading import search_path, worker_environment
from fluxhero.backtest.parameters import Declared
from fluxhero.backtest.signal_worker import (
    BARS_NAME,
    REQUEST_NAME,
    STARTED_NAME,
    result_name,
    targets_name,
)
from fluxhero.backtest.strategy import Description, Named
from fluxhero.durable import read_bytes, write_atomically
from fluxhero.errors import ConfigurationError, StrategyError

_START_SECONDS: Final = 60.0  # imports pandas, on a machine that is busy
_NOT_ITSELF: Final = "take out what ends or disturbs its process, then run again"


@dataclass(frozen=True, eq=False)
class Signals:
    """What a strategy wants after each bar, and what is known about how it comes to that.

    Attributes:
        targets: -1, 0 or 1 a bar.
        seconds: that it took, without the import of its module.
        peak_mb: most memory its process had.
        verdict: whether it peeks.
    """

    targets: Int8s
    seconds: float
    peak_mb: float
    verdict: Verdict = field(default_factory=Verdict)

    @property
    def peeks(self) -> tuple[Peek, ...]:
        """Where it says something else when it does not know what follows."""
        return self.verdict.peeks


def signals_of(
    strategies: Sequence[Named],
    bars: Bars,
    contract: Contract,
    bounds: Bounds,
    folder: Path,
    *,
    look_ahead: bool = True,
    advance: Callable[[], None] | None = None,
) -> list[Signals | StrategyError]:
    """The targets of each strategy, or what is wrong with it.

    Args:
        strategies: what to run; one that dies costs the others nothing but a new start.
        bars: what they are given.
        contract: whether they may go short.
        bounds: what one strategy may take; finding out whether it peeks may take as much again.
        folder: for files while this runs.
        look_ahead: find out whether they peek, which runs them some twenty times more on fewer bars.
        advance: called every now and then.

    Raises:
        ConfigurationError: no such process can be started.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="signals-", dir=folder) as own:
        workers = _Workers(Path(own), bounds, advance)
        workers.give(bars, allow_short=contract.allow_short)
        answers = workers.answers("targets", dict(enumerate(strategies)))
        made = {place: _signals(answers[place], workers.folder, place) for place in answers}
        good = {place: one for place, one in made.items() if isinstance(one, Signals)}
        if look_ahead:
            checks = workers.answers("check", {place: strategies[place] for place in good})
            for place, answer in checks.items():
                made[place] = replace(good[place], verdict=verdict(answer, bars))
    return [made[place] for place in range(len(strategies))]


def description_in(folder: Path, text: str, bounds: Bounds) -> Description:
    """What the strategy module:Class takes, found out in a process of its own.

    Raises:
        StrategyError: it cannot be imported, or hangs or dies then.
        ConfigurationError: no such process can be started.
    """
    answer = _Workers(folder, bounds, None).answers("describe", {0: Named(text, text)})[0]
    if isinstance(answer, StrategyError):
        raise answer
    return Description(
        name=answer["name"],
        reference=answer["reference"],
        declared=tuple(Declared(**one) for one in answer["declared"]),
        grid=tuple((name, tuple(values)) for name, values in answer["grid"]),
        code=answer["code"],
    )


class _Workers:
    """Processes that work in one folder, one after the other; each goes on behind what ended the last."""

    def __init__(self, folder: Path, bounds: Bounds, advance: Callable[[], None] | None) -> None:
        self.folder = folder
        self._bounds = bounds
        self._advance = advance
        self._given: dict[str, Any] = {}

    def give(self, bars: Bars, *, allow_short: bool) -> None:
        """Write down what all strategies are given."""
        values = (bars.ends, bars.open, bars.high, bars.low, bars.close, bars.volume)
        np.save(self.folder / BARS_NAME, np.stack(values))
        self._given = {
            "symbol": bars.symbol,
            "timeframe": bars.timeframe,
            "allow_short": allow_short,
        }

    def answers(
        self, task: str, strategies: dict[int, Named]
    ) -> dict[int, dict[str, Any] | StrategyError]:
        """What came of each strategy."""
        found: dict[int, dict[str, Any] | StrategyError] = {}
        left = dict(strategies)
        while left:
            first = next(iter(left))
            outcome = self._run(task, left)
            for place in list(left):
                result = self.folder / result_name(task, place)
                if not result.exists():
                    break
                found[place] = _read(json.loads(read_bytes(result)))
                del left[place]
            # What those before it left behind may be to blame, unless it was alone or had its own time.
            if first in left or (left and _timed_out(outcome)):
                place = next(iter(left))
                found[place] = death_of(left.pop(place), outcome, self._bounds)
        return found

    def _run(self, task: str, strategies: dict[int, Named]) -> Outcome:
        request = {
            **self._given,
            "task": task,
            "search": search_path(),
            "seconds": self._bounds.seconds,
            "strategies": [(place, asdict(one)) for place, one in strategies.items()],
        }
        write_atomically(self.folder / REQUEST_NAME, json.dumps(request).encode())
        started = self.folder / STARTED_NAME
        started.unlink(missing_ok=True)
        seconds = _START_SECONDS + self._bounds.seconds * len(strategies)
        outcome = run_isolated(
            [
                sys.executable,
                "-m",
                "fluxhero.backtest.signal_worker",
                str(self.folder / REQUEST_NAME),
            ],
            folder=self.folder,
            bounds=Bounds(seconds, self._bounds.memory_mb),
            environment=worker_environment(),
            advance=self._advance,
        )
        if not started.exists():
            raise ConfigurationError(
                f"the process for strategies did not come up: it {outcome.cause or 'did nothing'}; {outcome.output}",
                next_step="raise FLUXHERO_ENGINE_MEMORY_MB if it is low; `fluxhero doctor` says what else is wrong",
            )
        return outcome


def _read(answer: dict[str, Any]) -> dict[str, Any] | StrategyError:
    if "error" not in answer:
        return answer
    what, next_step = answer["error"]
    return StrategyError(what, next_step=next_step)


def _timed_out(outcome: Outcome) -> bool:
    return outcome.ended is Ended.TIMED_OUT or outcome.exit_code == -signal.SIGALRM


def death_of(strategy: Named, outcome: Outcome, bounds: Bounds) -> StrategyError:
    """What to say of a strategy that took its process with it."""
    if _timed_out(outcome):
        what = f"took longer than {bounds.seconds:g} seconds"
        step = "make it quicker, give it fewer bars, or raise FLUXHERO_ENGINE_TIMEOUT_SECONDS"
    elif outcome.ended is Ended.OUT_OF_MEMORY:
        what = outcome.cause
        step = "make it need less, give it fewer bars, or raise FLUXHERO_ENGINE_MEMORY_MB"
    elif outcome.ended is Ended.FLOODED:
        what, step = outcome.cause, "take out what prints, then run again"
    else:
        what = f"ended its process: it {outcome.cause or 'exited with status 0'}"
        step = _NOT_ITSELF
    return StrategyError(f"{strategy.label} {what}", next_step=step)


def _signals(
    answer: dict[str, Any] | StrategyError, folder: Path, place: int
) -> Signals | StrategyError:
    if isinstance(answer, StrategyError):
        return answer
    targets: Int8s = np.load(folder / targets_name(place), allow_pickle=False)
    return Signals(targets, answer["seconds"], answer["peak_mb"])
