"""Strategies of the user's own: what breaks harms only itself, and whoever peeks is found out."""

import shutil
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from fluxhero.backtest.bars import Bars
from fluxhero.backtest.contract import Contract
from fluxhero.backtest.honesty import Honesty
from fluxhero.backtest.isolation import Bounds
from fluxhero.backtest.look_ahead import truncations
from fluxhero.backtest.signals import Signals, signals_of
from fluxhero.backtest.strategy import Named, named
from fluxhero.errors import ConfigurationError, StrategyError

pytestmark = pytest.mark.measured

MINE = Path(__file__).with_name("bad_strategies.py")
BOUNDS = Bounds(seconds=4, memory_mb=1_024)


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the user's module in it."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copy(MINE, tmp_path / "mine.py"))


def some_bars(count: int = 2_000) -> Bars:
    chance = np.random.default_rng(11)
    close = 1_000_000 + 100 * np.cumsum(chance.integers(-9, 10, count))
    before = np.concatenate((close[:1], close[:-1]))
    high, low = np.maximum(before, close) + 300, np.minimum(before, close) - 300
    ends = 1_767_366_060_000_000_000 + 60_000_000_000 * np.arange(count)
    return Bars("IT", "1m", ends, before, high, low, close, chance.integers(1, 900, count))


def one(name: str, **parameters: int) -> Named:
    return Named(name, f"mine:{name}", tuple(parameters.items()))


def run(names: Sequence[str], bars: Bars, *, look_ahead: bool = True) -> dict[str, Signals]:
    with tempfile.TemporaryDirectory() as folder:
        answers = signals_of(
            [one(name) for name in names],
            bars,
            Contract(),
            BOUNDS,
            Path(folder) / "new",
            look_ahead=look_ahead,
        )
        assert not list(Path(folder).rglob("signals-*"))
    failed = [str(answer) for answer in answers if isinstance(answer, StrategyError)]
    assert not failed
    return {name: a for name, a in zip(names, answers, strict=True) if isinstance(a, Signals)}


BREAKING = {
    "Raises": r"Raises raised KeyError: 'Close' at mine.py, line \d+: return bars\[\"Close\"\] > 0",
    "RefusesParameters": r"mine:RefusesParameters\(days=3\) raised ValueError: 3 days are not enough at",
    "Exits": r"Exits raised SystemExit: enough at mine.py, line \d+: sys.exit\(\"enough\"\)",
    "ExitsAtOnce": r"ExitsAtOnce ended its process: it exited with status 0",
    "KillsItself": r"KillsItself ended its process: it was ended by SIGKILL",
    "NeverEnds": r"NeverEnds took longer than 4 seconds .*FLUXHERO_ENGINE_TIMEOUT_SECONDS",
    "PrintsWithoutEnd": r"PrintsWithoutEnd printed more than 64 MiB",
    "TakesTwentyGigabytes": r"TakesTwentyGigabytes took more memory .*FLUXHERO_ENGINE_MEMORY_MB",
    "WrongLength": r"WrongLength returned 1999 for 2,000 bars",
    "GivesNan": r"GivesNan returned nan for bar 0, 2026-01-02 15:01 UTC \(and 1,?\d+ others\), which",
    "Missing": r"mine \(.*mine.py\) has no class Missing",
    "LeavesAThread": "",
    "SpoilsTheNext": "",
    "DiesWhereSpoilt": "",
    "ChangesItsBars": "",
}


def test_a_strategy_that_breaks_costs_only_itself(mine: Path) -> None:
    bars = some_bars()
    strategies = [one(name, days=3) if name[:4] == "Refu" else one(name) for name in BREAKING]
    looks: list[None] = []
    answers = signals_of(
        strategies,
        bars,
        Contract(),
        BOUNDS,
        mine.parent,
        look_ahead=False,
        advance=lambda: looks.append(None),
    )
    for message, answer in zip(BREAKING.values(), answers, strict=True):
        if message:
            assert isinstance(answer, StrategyError)
            with pytest.raises(StrategyError, match=message):
                raise answer
        else:
            assert isinstance(answer, Signals)
            assert answer.targets.tolist() == [1] * len(bars)
            assert answer.verdict.honesty is Honesty.UNKNOWN
            assert 20 < answer.peak_mb < 1_024
    assert looks
    assert sorted(mine.parent.iterdir()) == [mine], "nothing is left beside the user's file"


def test_a_module_that_hangs_or_breaks_on_import_costs_only_itself(mine: Path) -> None:
    (mine.parent / "hangs.py").write_text("import time\ntime.sleep(600)\n")
    (mine.parent / "typo.py").write_text(
        "class Mine:\n    def targets(self, bars)\n        return 1\n"
    )
    (mine.parent / "needs.py").write_text("import no_such_package\n")
    (mine.parent / "random.py").write_text("raise ValueError('this is not the standard library')\n")
    names = ("hangs:Mine", "typo:Mine", "needs:Mine", "absent.part:Mine", "random:Mine")
    named_so = [Named(name, name) for name in names]
    *answers, fine = signals_of(
        [*named_so, one("Cross")], some_bars(), Contract(), Bounds(1.5, 1_024), mine.parent
    )
    for answer, message in zip(
        answers,
        (
            r"hangs:Mine took longer than 1.5 seconds",
            r"importing typo raised SyntaxError: expected ':' at typo.py, line 2: def targets\(self, bars\)",
            r"importing needs raised ModuleNotFoundError: .*no_such_package.* at needs.py, line 1: import",
            r"there is no module absent in the current folder.*PYTHONPATH",
            r"random \(.*python3.*random.py\) has no class Mine",
        ),
        strict=True,
    ):
        assert isinstance(answer, StrategyError)
        with pytest.raises(StrategyError, match=message):
            raise answer
    assert isinstance(fine, Signals)
    assert fine.verdict.honesty is Honesty.HONEST


PEEKING = (
    "KnowsTomorrow",
    "RarelyKnowsTomorrow",
    "LeavesInTime",
    "NormalisesOverAll",
    "FillsFromBehind",
    "FitsOnAll",
    "LooksBothWays",
    "SortsByLuck",
)
HONEST = ("Cross", "Breakout", "Smoothed", "ExpandingScore", "StepByStep", "FiftyBarsAtLeast")
NOT_TO_BE_JUDGED = ("Whims", "RemembersWhatItFitted", "RaisesWhereItHasBeen")


def test_whoever_peeks_is_found_out_and_nobody_else(mine: Path) -> None:
    bars = some_bars()
    found = run((*PEEKING, *HONEST, *NOT_TO_BE_JUDGED, "WantsManyBars"), bars)
    verdicts = {name: signals.verdict.honesty for name, signals in found.items()}
    assert verdicts == {
        **dict.fromkeys(PEEKING, Honesty.PEEKS),
        **dict.fromkeys(HONEST, Honesty.HONEST),
        **dict.fromkeys(NOT_TO_BE_JUDGED, Honesty.UNREPEATABLE),
        "WantsManyBars": Honesty.UNKNOWN,
    }
    for name, signals in found.items():
        assert signals.verdict.truncations >= 16
        assert bool(signals.peeks) == (name in PEEKING)
        assert bool(signals.verdict.reason) == (name not in HONEST)
    assert "too few bars to fit on" in found["WantsManyBars"].verdict.reason
    peek = found["RarelyKnowsTomorrow"].peeks[0]
    assert (peek.full, peek.truncated, peek.known) == (1, 0, peek.bar + 1)
    assert peek.at == datetime.fromtimestamp(int(bars.ends[peek.bar]) // 10**9, tz=UTC)
    assert str(peek).endswith(
        f"UTC when it knows all bars, 0 when it knows only the first {peek.known:,} bars"
    )
    some = [str(peek) for peek in found["RarelyKnowsTomorrow"].peeks]
    assert found["RarelyKnowsTomorrow"].verdict.reason.endswith(tuple(some))


def test_of_those_that_are_shipped_only_the_one_that_says_so_peeks(tmp_path: Path) -> None:
    bars = some_bars(600)
    texts = (
        "moving-average-cross",
        "mean-reversion",
        "buy-and-hold",
        "random",
        "perfect-predictor",
    )
    shipped = [named(text, {}) for text in texts]
    answers = signals_of(shipped, bars, Contract(), BOUNDS, tmp_path)
    honesty = [answer.verdict.honesty for answer in answers if isinstance(answer, Signals)]
    assert honesty == [Honesty.HONEST] * 4 + [Honesty.PEEKS]


def test_what_takes_too_much_with_its_children_or_too_long_for_the_check_is_ended(
    mine: Path,
) -> None:
    mine.write_text(
        "import os, time\n"
        "class Multiplies:\n"
        "    def targets(self, bars):\n"
        "        for _ in range(4):\n"
        "            if os.fork() == 0:\n"
        "                time.sleep(600)\n"
        "        time.sleep(600)\n"
        "class Slow:\n"
        "    def targets(self, bars):\n"
        "        time.sleep(0.2)\n"
        "        return [1] * len(bars)\n"
    )
    many, slow = signals_of(
        [one("Multiplies"), one("Slow")], some_bars(), Contract(), Bounds(3, 256), mine.parent
    )
    assert isinstance(many, StrategyError)
    assert many.what == "Multiplies took more than 256 MiB of memory"
    assert "FLUXHERO_ENGINE_MEMORY_MB" in many.next_step
    assert isinstance(slow, Signals)
    assert slow.targets.all()
    assert slow.verdict.honesty is Honesty.UNKNOWN
    assert slow.verdict.reason == "it could not be found out: Slow took longer than 3 seconds"


def test_with_two_bars_there_is_little_to_compare_and_with_one_nothing(mine: Path) -> None:
    assert truncations(np.array([1, 1], dtype=np.int8)) == [1]
    assert run(["Smoothed"], some_bars(2))["Smoothed"].verdict.honesty is Honesty.HONEST
    alone = run(["Smoothed"], some_bars(1))["Smoothed"].verdict
    assert (alone.honesty, alone.truncations) == (Honesty.UNKNOWN, 0)


def test_too_little_memory_to_start_at_all_is_said_to_be_that(mine: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"did not come up.*FLUXHERO_ENGINE_MEMORY_MB"):
        signals_of([one("Cross")], some_bars(), Contract(), Bounds(30, 8), mine.parent)
